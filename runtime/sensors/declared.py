"""What users declared of a sensor, as the sensors use it; the properties are in `advcal_edge/declarations.py`."""

from __future__ import annotations

import numpy as np

from advcal_edge.runtime.sensors.frame import Array
from advcal_edge.runtime.sensors.plausible import swap_bytes
from advcal_edge.spec import Modality

ACCEPT = "`--set input.assume_units=yes` reads it all the same"


def declare(name: str, value: object) -> str:
    """The option that declares a property of the sensor, for hints."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"`--set input.{name}={text}`"


def as_declared(values: Array, modality: Modality) -> Array:
    """Integers of 16 bits in the byte order that is declared; other values as they are."""
    sixteen = values.dtype.kind in "iu" and values.dtype.itemsize == 2
    return swap_bytes(values) if sixteen and modality.text("byte_order") == "swapped" else values


def other_order(modality: Modality) -> str:
    """The byte order that is not declared."""
    return "stored" if modality.text("byte_order") == "swapped" else "swapped"


def significant_bits(modality: Modality) -> int:
    """Bits that values of 16 bits use, 0 if that is not declared."""
    return int(np.clip(round(modality.number("significant_bits")), 0, 16))
