"""Geometry of the plots of the page: drops against the margin, drift against decisions, accuracy against the radius."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advcal_edge.report.results import SIDES, Side
from advcal_edge.threat import Norm, format_eps

ROW = 46  # pixels; horizontal positions are percent of the width, so that the text keeps its size on a phone
DROPS_TOP = 26
FLOOR = 1e-9  # smaller values, zero included, are drawn here
DRIFT_LEFT, DRIFT_RIGHT, DRIFT_TOP, DRIFT_BOTTOM = 58, 468, 12, 332
LEFT, RIGHT = 9.0, 97.0  # percent of the width, so that the text keeps its size on a phone
GAP = 0.09  # share of the axis between zero, which a logarithmic axis cannot show, and the smallest radius
APART, APART_NARROW = 6.5, 14.0  # percent between labels, on a wide screen and on a phone
TOP, HEIGHT = 30, 270  # pixels


@dataclass(frozen=True, slots=True)
class Axis:
    """Values from `low` to `high` laid out from `start` to `end`, which may run backwards."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Position of `value`, rounded to the resolution of a screen."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2) + 0.0

    def ticks(self, most: int) -> list[float]:
        """At most about `most` multiples of 1, 2 or 5 times a power of ten."""
        step = round_step((self.high - self.low) / most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(k * step, 12) + 0.0 for k in range(first, last + 1)]


def round_step(least: float) -> float:
    """The smallest 1, 2 or 5 times a power of ten that is not below `least`."""
    power: float = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= least * (1 - 1e-9))


@dataclass(frozen=True, slots=True)
class DropRow:
    """One comparison: positions of its interval and drop, and the text beside them."""

    item: Mapping[str, Any]
    y: int
    low: float
    high: float
    at: float


@dataclass(frozen=True, slots=True)
class DropPlot:
    """All comparisons on one axis in points; to the right of `margin` the drop is too large."""

    rows: Sequence[DropRow]
    ticks: Sequence[tuple[float, float]]
    zero: float
    margin: float
    bottom: int

    @classmethod
    def of(cls, comparisons: Sequence[Mapping[str, Any]], margin: float) -> DropPlot:
        """Lay out the comparisons of a report."""
        lows, highs = zip(*(item["interval"] for item in comparisons), strict=True)
        drops = [item["drop"] for item in comparisons]  # a confidence sequence may have excluded the last of its drops
        axis = Axis(100 * min(-margin / 2, *lows, *drops), 100 * max(1.5 * margin, *highs, *drops), 2, 98)
        rows = [
            DropRow(item, DROPS_TOP + i * ROW, *(axis.at(100 * value) for value in (*item["interval"], item["drop"])))
            for i, item in enumerate(comparisons)
        ]
        ticks = [(axis.at(tick), tick) for tick in axis.ticks(6)]
        return cls(rows, ticks, axis.at(0), axis.at(100 * margin), DROPS_TOP + len(rows) * ROW)


@dataclass(frozen=True, slots=True)
class DriftPlot:
    """Marks below the diagonal keep their decision whatever the drift; `near_ties` are on or above it."""

    safe: Sequence[tuple[float, float]]
    near_ties: Sequence[tuple[float, float]]
    x_ticks: Sequence[tuple[float, int]]
    y_ticks: Sequence[tuple[float, int]]
    diagonal: tuple[float, float, float, float]
    left: int = DRIFT_LEFT
    right: int = DRIFT_RIGHT
    top: int = DRIFT_TOP
    bottom: int = DRIFT_BOTTOM

    @classmethod
    def of(cls, drift: Mapping[str, Sequence[float]], near_ties: Collection[int]) -> DriftPlot:
        """Lay out the measured drift of each sample; `near_ties` are the derived ones."""
        margins, changes = ([logarithm(value) for value in drift[name]] for name in ("margin", "change"))
        half = math.log10(2)
        x = decades(min(margins), max(margins), DRIFT_LEFT, DRIFT_RIGHT)
        y = decades(min(changes), max(*changes, x.high - half), DRIFT_BOTTOM, DRIFT_TOP)
        marks: dict[bool, set[tuple[float, float]]] = {False: set(), True: set()}
        for sample, (margin, change) in enumerate(zip(margins, changes, strict=True)):
            marks[sample in near_ties].add((round(x.at(margin), 1), round(y.at(change), 1)))
        return cls(
            safe=sorted(marks[False]),
            near_ties=sorted(marks[True]),
            x_ticks=powers(x),
            y_ticks=powers(y),
            diagonal=(x.at(x.low), y.at(x.low - half), x.at(x.high), y.at(x.high - half)),
        )


def logarithm(value: float) -> float:
    """Logarithm to base ten of the value, or of the floor if that is larger."""
    return math.log10(max(value, FLOOR))


def decades(low: float, high: float, start: int, end: int) -> Axis:
    """An axis over whole powers of ten that contains `low` and `high`, given as logarithms."""
    first = math.floor(low)
    return Axis(first, max(math.ceil(high), first + 1), start, end)


def powers(axis: Axis) -> list[tuple[float, int]]:
    """Positions and exponents of the powers of ten, reduced to a few."""
    every = max(1, math.ceil((axis.high - axis.low) / 6))
    return [(axis.at(k), k) for k in range(int(axis.high), int(axis.low) - 1, -every)][::-1]


@dataclass(frozen=True, slots=True)
class RadiusAxis:
    """Radii by their logarithm, with zero separate at the left."""

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
        """Position of the break in the axis."""
        return round((LEFT + self.at(self.least)) / 2, 2)


@dataclass(frozen=True, slots=True)
class Tick:
    """A radius with its label, which may not fit on a narrow screen."""

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
    """Both sides on one axis with the tested radius marked; `rows` holds the same figures by radius."""

    sides: Sequence[SideCurve]
    ticks: Sequence[Tick]
    tested: float
    cut: float
    rows: Sequence[tuple[str, Mapping[Side, Mapping[str, Any]]]]
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
    """SVG path of straight lines between the points."""
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)


def ticks(radii: Sequence[float], eps: float, axis: RadiusAxis, norm: Norm) -> list[Tick]:
    """Labels that fit: first the tested radius, then the ends, then the others from small to large."""
    order = dict.fromkeys([eps, radii[0], radii[-1], *radii])
    placed: list[Tick] = []
    for radius in order:
        at = axis.at(radius)
        if all(abs(at - tick.at) >= APART for tick in placed):
            narrow = all(abs(at - tick.at) >= APART_NARROW for tick in placed if not tick.wide_only)
            placed.append(Tick(at, radius_name(radius, norm), not narrow))
    return sorted(placed, key=lambda tick: tick.at)


def radius_name(eps: float, norm: Norm) -> str:
    """A radius in the usual notation; in linf the whole width is 1."""
    return f"{eps:g}" if eps in (0.0, 1.0) else format_eps(eps, norm)
