"""How files store their values: 8 bits beside 16, or counts beside metres, in one folder are two units, not one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors import Frame
from advcal_edge.spec import Modality

SENSITIVE = ("image", "thermal", "depth", "range")
"""Preprocessings by which the unit of a value follows from how it is stored."""


def kind_of(frame: Frame, modality: Modality) -> str | None:
    """How a frame's file stores its values, as a user would say it; None where that decides nothing."""
    if modality.preprocess not in SENSITIVE or not isinstance(frame, np.ndarray) or frame.dtype.kind not in "iuf":
        return None
    if frame.dtype.kind == "f":
        return "floating point"
    return f"{8 * frame.dtype.itemsize} bits" + (" with a sign" if frame.dtype.kind == "i" else "")


def check_one_kind(kinds: Mapping[str, Sequence[Path]], modality: Modality, where: Path) -> None:
    """Refuse a data set whose files store their values in different ways, unless that was declared to be right.

    Raises:
        InputError: more than one kind; the message has the number of files of each, and one of them.
    """
    if len(kinds) < 2 or modality.assumes_units:
        return
    order = sorted(kinds.items(), key=lambda item: -len(item[1]))
    shown = "".join(f"\n  {len(files)} in {kind}, like `{files[0]}`" for kind, files in order)
    raise InputError(
        f"the {modality.name} files of `{where}` store their values in {len(kinds)} ways, and so in several"
        f" units; expected one:{shown}",
        hint="keep those of one camera and recorder, or convert the others; if all mean the same:"
        " `--set input.assume_units=yes`",
    )
