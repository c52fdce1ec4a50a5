"""Geometry of the plot that decides: the drop of each comparison with its interval, against the margin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advcal_edge.report.axis import Axis

ROW = 46  # pixels; horizontal positions are percent of the width, so that the text keeps its size on a phone
TOP = 26


@dataclass(frozen=True, slots=True)
class DropRow:
    """One comparison: positions of its interval and drop, and what stands beside them."""

    item: Mapping[str, Any]
    y: int
    low: float
    high: float
    at: float


@dataclass(frozen=True, slots=True)
class DropPlot:
    """All comparisons under one axis in points; to the right of `margin` too much is lost."""

    rows: Sequence[DropRow]
    ticks: Sequence[tuple[float, float]]
    zero: float
    margin: float
    bottom: int

    @classmethod
    def of(cls, comparisons: Sequence[Mapping[str, Any]], margin: float) -> DropPlot:
        """Lay out the comparisons of a report."""
        lows, highs = zip(*(item["interval"] for item in comparisons), strict=True)
        axis = Axis(100 * min(-margin / 2, *lows), 100 * max(1.5 * margin, *highs), 2, 98)
        rows = [
            DropRow(item, TOP + i * ROW, *(axis.at(100 * value) for value in (*item["interval"], item["drop"])))
            for i, item in enumerate(comparisons)
        ]
        ticks = [(axis.at(tick), tick) for tick in axis.ticks(6)]
        return cls(rows, ticks, axis.at(0), axis.at(100 * margin), TOP + len(rows) * ROW)
