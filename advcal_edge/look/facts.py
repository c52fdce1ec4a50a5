"""Figures in words: quantities with units, ranges and percentiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.look.sight import Fact
from advcal_edge.runtime.sensors.frame import crop_box

PERCENTILES = (1, 5, 50, 95, 99)


def quantity(value: float, unit: str = "", digits: int = 5) -> str:
    """A number and its unit."""
    return f"{value:.{digits}g} {unit}".rstrip()


def ranged(values: NDArray[Any], unit: str, name: str = "range") -> list[Fact]:
    """The range of values, and their percentiles."""
    found = np.percentile(values, PERCENTILES)
    return [
        Fact(name, f"{quantity(float(values.min()))} to {quantity(float(values.max()), unit)}"),
        Fact(
            "percentiles",
            f"{', '.join(quantity(float(value)) for value in found)} {unit} ({', '.join(map(str, PERCENTILES))} %)",
        ),
    ]


def share(part: int, whole: int, name: str) -> str:
    """How many of all, and in percent."""
    return f"{part} of {whole} {name} ({100 * part / max(whole, 1):.4g} %)"


def size_in_words(count: int) -> str:
    """A size in readable units."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} B"


def cropped(shape: tuple[int, ...], height: int, width: int, how: str) -> Fact:
    """The part of a frame (h, w) that the encoder gets."""
    _, _, rows, columns = crop_box(shape, height, width)
    whole = (rows, columns) == shape[:2]
    part = "the whole frame" if whole else f"the middle {columns} x {rows} of {shape[1]} x {shape[0]} pixels"
    return Fact("crop and resize", f"{part}, to {width} x {height} {how}")


def crop_shares(shape: tuple[int, ...], height: int, width: int) -> tuple[float, float, float, float] | None:
    """Left, top, width and height of that part in shares of the sides; None if it is the whole frame."""
    top, left, rows, columns = crop_box(shape, height, width)
    if (rows, columns) == shape[:2]:
        return None
    return left / shape[1], top / shape[0], columns / shape[1], rows / shape[0]
