"""Geometry of the risk-coverage curve: share of wrong answers among the accepted against the share that is accepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advcal_edge.report.plots import Axis, path

LEFT, RIGHT = 9.0, 97.0  # percent of the width
TOP, HEIGHT = 30, 230  # pixels
CURVES = ("clean", "attacked")


@dataclass(frozen=True, slots=True)
class RiskCurve:
    """One curve with its mark at the threshold that was chosen; vertical positions are percent of the height."""

    name: str
    line: str
    mark: tuple[float, float] | None
    """Percent and pixels; None if that threshold accepts nothing."""


@dataclass(frozen=True, slots=True)
class RiskPlot:
    """Clean and attacked on one frame, with the risk that is allowed."""

    curves: Sequence[RiskCurve]
    x_ticks: Sequence[tuple[float, float]]
    y_ticks: Sequence[tuple[float, float]]
    allowed: float
    top: int = TOP
    height: int = HEIGHT

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> RiskPlot:
        """Lay out `derived.abstention`."""
        alpha = float(found["alpha"])
        risks = [float(point[name]["risk"] or 0) for point in found["curve"] for name in CURVES]
        x, y = Axis(0, 100, LEFT, RIGHT), Axis(0, 100 * min(max(2 * alpha, *risks) * 1.05, 1.0), 100, 0)
        return cls(
            [risk_curve(name, found, x, y) for name in CURVES],
            [(x.at(tick), tick) for tick in x.ticks(5)],
            [(y.at(tick), tick) for tick in y.ticks(5)],
            y.at(100 * alpha),
        )


def risk_curve(name: str, found: Mapping[str, Any], x: Axis, y: Axis) -> RiskCurve:
    """One curve, from the strictest threshold to none."""
    points = [point[name] for point in reversed(found["curve"]) if point[name]["risk"] is not None]
    places = [(x.at(100 * float(point["coverage"])), y.at(100 * float(point["risk"]))) for point in points]
    chosen, mark = found[name], None
    if chosen["risk"] is not None:
        across, down = x.at(100 * float(chosen["coverage"])), y.at(100 * float(chosen["risk"]))
        mark = across, round(TOP + down * HEIGHT / 100, 1)
    return RiskCurve(name, path(places) if places else "", mark)
