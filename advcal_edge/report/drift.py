"""Geometry of the scatter of drift against decision margin, one mark a sample, both axes logarithmic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advcal_edge.report.axis import Axis

FLOOR = 1e-9  # what is smaller, zero included, is drawn here
LEFT, RIGHT, TOP, BOTTOM = 58, 468, 12, 332


@dataclass(frozen=True, slots=True)
class DriftPlot:
    """Marks below the diagonal keep their decision whatever the drift; `near_ties` lie on or above it."""

    safe: Sequence[tuple[float, float]]
    near_ties: Sequence[tuple[float, float]]
    left_out: int  # values that are not finite
    x_ticks: Sequence[tuple[float, int]]
    y_ticks: Sequence[tuple[float, int]]
    diagonal: tuple[float, float, float, float]
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP
    bottom: int = BOTTOM

    @classmethod
    def of(cls, drift: Mapping[str, Any]) -> DriftPlot | None:
        """Lay out the drift of a report; None where no sample has finite values."""
        pairs = list(zip(drift["margin"], drift["change"], strict=True))
        finite = [(m, c) for m, c in pairs if math.isfinite(m) and math.isfinite(c)]
        if not finite:
            return None
        margins, changes = ([logarithm(value) for value in values] for values in zip(*finite, strict=True))
        half = math.log10(2)
        x = decades(min(margins), max(margins), LEFT, RIGHT)
        y = decades(min(changes), max(*changes, x.high - half), BOTTOM, TOP)
        marks: dict[bool, set[tuple[float, float]]] = {False: set(), True: set()}
        for (margin, change), log_margin, log_change in zip(finite, margins, changes, strict=True):
            marks[2 * change >= margin].add((round(x.at(log_margin), 1), round(y.at(log_change), 1)))
        return cls(
            safe=sorted(marks[False]),
            near_ties=sorted(marks[True]),
            left_out=len(pairs) - len(finite),
            x_ticks=powers(x),
            y_ticks=powers(y),
            diagonal=(x.at(x.low), y.at(x.low - half), x.at(x.high), y.at(x.high - half)),
        )


def logarithm(value: float) -> float:
    """To base ten, of at least the floor."""
    return math.log10(max(value, FLOOR))


def decades(low: float, high: float, start: int, end: int) -> Axis:
    """An axis over whole powers of ten that holds `low` and `high`, given as logarithms."""
    first = math.floor(low)
    return Axis(first, max(math.ceil(high), first + 1), start, end)


def powers(axis: Axis) -> list[tuple[float, int]]:
    """Positions and exponents of the powers of ten, thinned to a handful."""
    every = max(1, math.ceil((axis.high - axis.low) / 6))
    return [(axis.at(k), k) for k in range(int(axis.high), int(axis.low) - 1, -every)][::-1]
