"""Geometry of accuracy against the radius, from nothing to the whole width of the bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advcal_edge.threat import Norm, format_eps

LEFT, RIGHT = 9.0, 97.0  # percent of the width, so that the text keeps its size on a phone
GAP = 0.09  # share of the axis between zero, which no logarithm reaches, and the smallest radius
APART, APART_NARROW = 6.5, 14.0  # percent between labels, on a wide screen and on a phone
TOP, HEIGHT = 30, 270  # pixels
SIDES = ("reference", "engine")


@dataclass(frozen=True, slots=True)
class RadiusAxis:
    """Radii laid out by their logarithm, with zero set apart to the left."""

    least: float
    largest: float

    def at(self, eps: float) -> float:
        """Position in percent."""
        if eps <= self.least:
            share = GAP * eps / self.least if self.largest > self.least else eps / self.least
        else:
            share = GAP + (1 - GAP) * math.log(eps / self.least) / math.log(self.largest / self.least)
        return round(LEFT + min(share, 1.0) * (RIGHT - LEFT), 2)

    @property
    def cut(self) -> float:
        """Where the axis is broken."""
        return round((LEFT + self.at(self.least)) / 2, 2)


@dataclass(frozen=True, slots=True)
class Tick:
    """A radius with its label, which a narrow screen may have no room for."""

    at: float
    label: str
    wide_only: bool


@dataclass(frozen=True, slots=True)
class SideCurve:
    """One side: marks (percent, pixels), and line and band in hundredths of the frame."""

    name: str
    attack: str
    samples: int
    marks: Sequence[tuple[float, float]]
    line: str
    band: str


@dataclass(frozen=True, slots=True)
class CurvePlot:
    """Both sides over one axis, the tested radius marked; `rows` holds the same figures by radius."""

    sides: Sequence[SideCurve]
    ticks: Sequence[Tick]
    tested: float
    cut: float
    rows: Sequence[tuple[str, Mapping[str, Mapping[str, Any]]]]
    top: int = TOP
    height: int = HEIGHT

    @classmethod
    def of(cls, curve: Mapping[str, Any], eps: float, norm: Norm = "linf") -> CurvePlot:
        """Lay out the curves of a report that was made at `eps` in this norm.

        Raises:
            ValueError: no radius above zero.
        """
        radii = sorted({float(point["eps"]) for side in SIDES for point in curve[side]["points"]})
        positive = [radius for radius in radii if radius > 0]
        axis = RadiusAxis(min(positive), max(*positive, eps))
        by_radius = {side: {float(point["eps"]): point for point in curve[side]["points"]} for side in SIDES}
        rows = [
            (radius_name(radius, norm), {side: by_radius[side][radius] for side in SIDES if radius in by_radius[side]})
            for radius in radii
        ]
        return cls(
            [side_curve(name, curve[name], axis) for name in SIDES],
            ticks(radii, eps, axis, norm),
            axis.at(eps),
            axis.cut,
            rows,
        )


def side_curve(name: str, curve: Mapping[str, Any], axis: RadiusAxis) -> SideCurve:
    """Marks, line and band of one side."""
    points = sorted(curve["points"], key=lambda point: float(point["eps"]))
    x = [axis.at(float(point["eps"])) for point in points]
    y, low, high = (
        [round(100 * (1 - float(value)), 2) for value in values]
        for values in zip(*((point["accuracy"], *point["interval"]) for point in points), strict=True)
    )
    there, back = list(zip(x, high, strict=True)), list(zip(x, low, strict=True))[::-1]
    return SideCurve(
        name,
        str(curve["attack"]),
        int(curve["samples"]),
        [(a, round(TOP + b * HEIGHT / 100, 1)) for a, b in zip(x, y, strict=True)],
        path(list(zip(x, y, strict=True))),
        path([*there, *back]) + "z",
    )


def path(points: Sequence[tuple[float, float]]) -> str:
    """Straight lines from point to point."""
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)


def ticks(radii: Sequence[float], eps: float, axis: RadiusAxis, norm: Norm) -> list[Tick]:
    """Labels as far as there is room: first the tested radius, then the ends, then the others from small to large."""
    order = dict.fromkeys([eps, radii[0], radii[-1], *radii])
    placed: list[Tick] = []
    for radius in order:
        at = axis.at(radius)
        if all(abs(at - tick.at) >= APART for tick in placed):
            narrow = all(abs(at - tick.at) >= APART_NARROW for tick in placed if not tick.wide_only)
            placed.append(Tick(at, radius_name(radius, norm), not narrow))
    return sorted(placed, key=lambda tick: tick.at)


def radius_name(eps: float, norm: Norm) -> str:
    """As people write it; in linf the whole width is 1."""
    return f"{eps:g}" if eps in (0.0, 1.0) else format_eps(eps, norm)
