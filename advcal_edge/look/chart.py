"""Lines, spectrograms and histograms over axes: positions in percent of the frame, right and down.

A chart keeps its height and the size of its text on any screen; only its frame grows with the width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from advcal_edge.look.plate import Pixels, labels
from advcal_edge.report.plots import Axis, path

COLUMNS = 600
"""Places of a line, each with the least and the largest value there, so that no peak is lost."""

HEIGHT = 180  # pixels
Tick: TypeAlias = tuple[float, str]


@dataclass(frozen=True, slots=True)
class Line:
    """A curve; `look` picks colour and dashes, 0 to 2."""

    name: str
    points: Sequence[tuple[float, float]]
    look: int = 0

    @property
    def path(self) -> str:
        """As an SVG path."""
        return path(self.points)


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the x axis that is marked, like a clip."""

    start: float
    end: float
    name: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A frame with axes; a picture, if there is one, fills it."""

    title: str
    note: str
    x_name: str
    y_name: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    lines: Sequence[Line] = ()
    spans: Sequence[Span] = ()
    picture: Pixels | None = field(default=None, compare=False)
    height: int = HEIGHT
    fill: bool = False
    """Fill the lines down to the bottom."""
    solid: bool = False
    """Fill the lines, which are closed."""


def spread(values: NDArray[Any], least: float = 0.0) -> tuple[float, float]:
    """The range of an axis that holds all values, with a margin, at least `least` wide."""
    low, high = float(values.min()), float(values.max())
    margin = max(0.06 * (high - low), (least - (high - low)) / 2, 1e-9 * max(abs(low), abs(high)), 1e-12)
    return low - margin, high + margin


def curves(
    title: str,
    series: Sequence[tuple[str, NDArray[Any]]],
    x_range: tuple[float, float],
    *,
    x_name: str,
    y_name: str,
    note: str = "",
    y_range: tuple[float, float] | None = None,
    spans: Sequence[Span] = (),
) -> Chart:
    """Equally spaced values (t,) over a range, each as a line."""
    low, high = y_range or spread(np.concatenate([values for _, values in series]))
    x, y = Axis(*x_range, 0.0, 100.0), Axis(low, high, 100.0, 0.0)
    solid = len(series) == 1 and len(series[0][1]) > 2 * COLUMNS
    draw = envelope if solid else trace
    lines = [Line(name, draw(values, x, y, x_range), look) for look, (name, values) in enumerate(series)]
    shown = [Span(x.at(span.start), x.at(span.end), span.name) for span in spans]
    return Chart(title, note, x_name, y_name, labels(x, 8), labels(y, 5), lines, shown, solid=solid)


def trace(values: NDArray[Any], x: Axis, y: Axis, x_range: tuple[float, float]) -> list[tuple[float, float]]:
    """Places of a line through values that are equally spaced over a range, thinned to least and largest."""
    places = np.linspace(*x_range, len(values))
    if len(values) > 2 * COLUMNS:
        parts = np.array_split(np.arange(len(values)), COLUMNS)
        chosen = [
            index for part in parts for index in sorted({part[values[part].argmin()], part[values[part].argmax()]})
        ]
        values, places = values[chosen], places[chosen]
    return [(x.at(a), y.at(b)) for a, b in zip(places.tolist(), values.tolist(), strict=True)]


def envelope(values: NDArray[Any], x: Axis, y: Axis, x_range: tuple[float, float]) -> list[tuple[float, float]]:
    """The outline of a line with more values than places: the largest there, and back along the least."""
    parts = np.array_split(values, COLUMNS)
    places = np.linspace(*x_range, COLUMNS)
    there = [(x.at(a), y.at(float(part.max()))) for a, part in zip(places.tolist(), parts, strict=True)]
    back = [(x.at(a), y.at(float(part.min()))) for a, part in zip(places.tolist(), parts, strict=True)]
    return [*there, *reversed(back)]
