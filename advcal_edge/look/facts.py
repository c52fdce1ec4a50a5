"""Figures in words: quantities with units, ranges and percentiles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.look.sight import Fact
from advcal_edge.runtime.sensors.frame import crop_box

PERCENTILES = (1, 5, 50, 95, 99)


def quantity(value: float, unit: str = "", digits: int = 5) -> str:
    """A number and its unit; large ones are written out."""
    text = f"{value:.{digits}g}"
    return f"{f'{value:.0f}' if 'e+' in text else text} {unit}".rstrip()


def level(value: float, span: float) -> str:
    """A value within a span, to a thousandth of that or finer."""
    decimals = min(max(3 - math.floor(math.log10(span)), 0), 9) if span > 0 else 6
    text = f"{value + 0.0:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if float(text) == 0 else text


def ranged(values: NDArray[Any], unit: str, name: str = "range") -> list[Fact]:
    """The range of values, and their percentiles."""
    low, high = float(values.min()), float(values.max())
    found = ", ".join(level(float(value), high - low) for value in np.percentile(values, PERCENTILES))
    return [
        Fact(name, f"{level(low, high - low)} to {level(high, high - low)} {unit}"),
        Fact(
            "percentiles",
            f"{found} {unit} ({', '.join(map(str, PERCENTILES))} %)",
        ),
    ]


def share(part: int, whole: int, name: str) -> str:
    """How many of all, and in percent."""
    return f"{part} of {whole} {name} ({100 * part / max(whole, 1):.4g} %)"


def percent(where: NDArray[np.bool_]) -> str:
    """The share of true values."""
    return f"{100 * float(where.mean()):.3g} %"


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
