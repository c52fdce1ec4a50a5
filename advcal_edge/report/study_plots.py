"""Geometry of the plots of a study: clean and worst case, worst case against the radius, and the trade-off of both."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from advcal_edge.report.plots import Axis, path
from advcal_edge.report.study_groups import Block, Group, Row

SHAPES = (
    "M-6.5 0a6.5 6.5 0 1 0 13 0a6.5 6.5 0 1 0-13 0z",
    "M-5.5-5.5h11v11h-11z",
    "M0-8L8 0L0 8L-8 0z",
    "M0-7.5L7.2 5.5h-14.4z",
    "M0 7.5L-7.2-5.5h14.4z",
    "M-2.4-7h4.8v4.6h4.6v4.8h-4.6v4.6h-4.8v-4.6h-4.6v-4.8h4.6z",
)
"""By look: disc, square, diamond, triangles and a cross, around the origin."""

ROW, HEADING, DOTS_TOP = 46, 30, 8  # pixels; horizontal positions are percent of the width, as in `plots.py`
SHARES = Axis(0.0, 1.0, 1.5, 98.5)
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
RADIUS_TOP, RADIUS_HEIGHT = 12, 220
LEFT, RIGHT = 9.0, 98.0  # percent, as in `plots.py`
TOP, HEIGHT = 30, 400  # pixels of the trade-off
CROWDED = 60  # marks in one trade-off
WIDE, LETTER, LINE, CLEAR = 8.9, 6.6, 15.0, 8.0  # pixels: a percent of a wide screen, a letter, a line, half a mark


Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A share and its interval, in percent of the width."""

    at: float
    low: float
    high: float

    @classmethod
    def of(cls, row: Row, column: str) -> Mark:
        """Of one column."""
        figure = row.line.figures[column]
        return cls(*(SHARES.at(value) for value in (figure.mean, *figure.interval)))


@dataclass(frozen=True, slots=True)
class DotRow:
    """Two marks at `y`."""

    row: Row
    y: int
    clean: Mark
    worst: Mark


@dataclass(frozen=True, slots=True)
class DotBlock:
    """The rows of one radius, its heading, and the worst case of the frozen encoder as a line."""

    heading: str
    y: int
    rows: Sequence[DotRow]
    frozen: float | None

    @property
    def bottom(self) -> int:
        """Where its last row ends."""
        return self.rows[-1].y + ROW


@dataclass(frozen=True, slots=True)
class DotPlot:
    """Clean and worst case of every row of a group, radius by radius."""

    group: Group
    blocks: Sequence[DotBlock]
    bottom: int
    ticks: Sequence[tuple[float, float]] = tuple((SHARES.at(level), level) for level in LEVELS)

    @classmethod
    def of(cls, group: Group) -> DotPlot:
        """Lay out a group; a single radius has no heading, since the page names it once."""
        blocks, y = [], DOTS_TOP
        for block in group.blocks:
            top = y
            y += HEADING if len(group.blocks) > 1 else 0
            rows = []
            for row in block.rows:
                rows.append(DotRow(row, y, Mark.of(row, "clean"), Mark.of(row, "worst")))
                y += ROW
            first = next((row for row in block.rows if row.line.frozen), None)
            line = None if first is None else Mark.of(first, "worst").at
            blocks.append(DotBlock(block.radius if len(group.blocks) > 1 else "", top, rows, line))
        return cls(group, blocks, y)


@dataclass(frozen=True, slots=True)
class RadiusCurve:
    """One method: points (percent, pixels), and line and band in hundredths of the frame."""

    label: str
    look: int
    points: Sequence[tuple[float, float, Row]]
    line: str
    band: str


@dataclass(frozen=True, slots=True)
class RadiusPlot:
    """Worst case against the radius, a curve for each method."""

    group: Group
    curves: Sequence[RadiusCurve]
    ticks: Sequence[tuple[float, str]]
    levels: Sequence[tuple[float, float]]
    top: int = RADIUS_TOP
    height: int = RADIUS_HEIGHT

    @classmethod
    def of(cls, group: Group) -> RadiusPlot:
        """Lay out a group with several radii of one norm."""
        x = Axis(0.0, max(block.eps for block in group.blocks), 7.0, 96.0)
        y = Axis(0.0, 1.0, 100.0, 0.0)
        found: dict[str, list[tuple[Block, Row]]] = {}
        for block in group.blocks:
            for row in block.rows:
                found.setdefault(row.label, []).append((block, row))
        ticks = [(x.at(block.eps), block.radius.rpartition(" ")[2]) for block in group.blocks]
        levels = [(RADIUS_TOP + y.at(level) * RADIUS_HEIGHT / 100, level) for level in LEVELS]
        return cls(group, [_curve(label, pairs, x, y) for label, pairs in found.items()], ticks, levels)


@dataclass(frozen=True, slots=True)
class Spot:
    """One row in the trade-off, in percent and pixels; its line starts at the frozen encoder, unless it is the row."""

    group: Group
    row: Row
    x: float
    y: float
    start: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Label:
    """The name of a group beside its best mark at x percent, off by pixels."""

    text: str
    x: float
    y: float
    right: int
    down: float
    anchor: str


@dataclass(frozen=True, slots=True)
class TradeOff:
    """Clean against worst case: what a method wins in one, and what it costs in the other."""

    title: str
    spots: Sequence[Spot]
    labels: Sequence[Label]
    x_ticks: Sequence[tuple[float, float]]
    y_ticks: Sequence[tuple[float, float]]
    limit: tuple[float, float, float, float] | None
    """The line on which both are equal; no mark lies below it."""
    top: int = TOP
    bottom: int = TOP + HEIGHT

    @classmethod
    def of(cls, title: str, groups: Sequence[Group]) -> TradeOff:
        """Lay out all rows of `groups` in one frame."""
        rows = [row for group in groups for row in group.rows]
        x = _tens([row.mean("worst") for row in rows], LEFT, RIGHT)
        y = _tens([row.mean("clean") for row in rows], TOP + HEIGHT, TOP)
        spots = [
            Spot(group, row, x.at(row.mean("worst")), y.at(row.mean("clean")), _start(block, row, x, y))
            for group in groups
            for block in group.blocks
            for row in block.rows
        ]
        low, high = max(x.low, y.low), min(x.high, y.high)
        limit = (x.at(low), y.at(low), x.at(high), y.at(high)) if low < high else None
        x_ticks, y_ticks = ([(axis.at(tick), tick) for tick in axis.ticks(most)] for axis, most in ((x, 10), (y, 6)))
        return cls(title, spots, _labels(groups, spots), x_ticks, y_ticks, limit)


def trade_offs(groups: Sequence[Group]) -> list[TradeOff]:
    """One frame for all groups, or one for each sensor if there are many marks."""
    if sum(len(group.rows) for group in groups) <= CROWDED:
        return [TradeOff.of("", groups)]
    sensors = dict.fromkeys(group.modality for group in groups)
    return [TradeOff.of(sensor, [group for group in groups if group.modality == sensor]) for sensor in sensors]


def _curve(label: str, pairs: Sequence[tuple[Block, Row]], x: Axis, y: Axis) -> RadiusCurve:
    at = [x.at(block.eps) for block, _ in pairs]
    figures = [row.line.figures["worst"] for _, row in pairs]
    means = [y.at(figure.mean) for figure in figures]
    highs, lows = ([y.at(figure.interval[end]) for figure in figures] for end in (1, 0))
    band = [*zip(at, highs, strict=True), *reversed([*zip(at, lows, strict=True)])]
    points = [
        (place, round(RADIUS_TOP + mean * RADIUS_HEIGHT / 100, 1), row)
        for place, mean, (_, row) in zip(at, means, pairs, strict=True)
    ]
    return RadiusCurve(label, pairs[0][1].look, points, path([*zip(at, means, strict=True)]), path(band) + "z")


def _tens(shares: Sequence[float], start: float, end: float) -> Axis:
    """An axis over whole tenths that holds all shares, at least two tenths long."""
    low, high = math.floor(10 * min(shares) + 1e-9), math.ceil(10 * max(shares) - 1e-9)
    if high - low < 2:
        low, high = max(low - 1, 0), min(max(low - 1, 0) + 2, 10)
    return Axis(low / 10, high / 10, start, end)


def _start(block: Block, row: Row, x: Axis, y: Axis) -> tuple[float, float] | None:
    before = None if row.line.frozen else block.frozen(row)
    return None if before is None else (x.at(before.mean("worst")), y.at(before.mean("clean")))


def _labels(groups: Sequence[Group], spots: Sequence[Spot]) -> list[Label]:
    """A name at the best mark of each group, where it covers no mark and no other name on a wide screen; else none."""
    if len(groups) < 2:
        return []
    taken = [_box(spot, -CLEAR, CLEAR, -CLEAR, CLEAR) for spot in spots]
    labels = []
    for group in groups:
        best = max((spot for spot in spots if spot.group is group), key=lambda spot: spot.row.mean("worst"))
        for label, box in _places(group.title, best):
            inside = box[0] >= 0 and box[2] <= 100 * WIDE and box[1] >= 0 and box[3] <= TOP + HEIGHT
            if inside and not any(_overlap(box, other) for other in taken):
                labels.append(label)
                taken.append(box)
                break
    return labels


def _places(text: str, spot: Spot) -> Iterator[tuple[Label, Box]]:
    """Right of a mark, left of it, above and below, each with its box."""
    wide = LETTER * len(text)
    for anchor, right, down, left in (
        ("start", 12, 4.5, 12),
        ("end", -12, 4.5, -12 - wide),
        ("middle", 0, -13, -wide / 2),
        ("middle", 0, 23, -wide / 2),
    ):
        box = _box(spot, left, left + wide, down - LINE + 3, down + 3)
        yield Label(text, spot.x, spot.y, right, down, anchor), box


def _box(spot: Spot, left: float, right: float, up: float, down: float) -> Box:
    """Around a mark, in pixels of a wide screen."""
    return WIDE * spot.x + left, spot.y + up, WIDE * spot.x + right, spot.y + down


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
