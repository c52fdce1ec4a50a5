"""Histograms of x by channel over its whole bounds, with the reach of an attack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from advcal_edge.look.chart import Chart, Line, Span
from advcal_edge.look.plate import labels
from advcal_edge.report.plots import Axis
from advcal_edge.report.typography import number
from advcal_edge.spec import Modality, TensorSpec

BINS = 64
HEIGHT = 120  # pixels


class Channels(NamedTuple):
    """Channels that share a chart: where they lie on their axis of x, and their names."""

    title: str
    axis: int
    first: int
    names: Sequence[str]
    looks: Sequence[int] = (0, 1, 2)


COLOURS = Channels("Histogram of x", 0, 0, ("red", "green", "blue"), (1, 2, 0))
CHANNELS: Mapping[str, Sequence[Channels]] = {
    "image": (COLOURS,),
    "video": (COLOURS,),
    "event": (Channels("Histogram of x", 0, 0, ("brighter", "both", "darker")),),
    "point": (Channels("Histogram of x", 1, 0, "xyz"),),
    "imu": (Channels("Histogram of acceleration", 0, 0, "xyz"), Channels("Histogram of angular rate", 0, 3, "xyz")),
}
"""By preprocessing; those that are not here have a single channel."""


def histograms(x: NDArray[np.float32], modality: Modality, step: float) -> Iterator[Chart]:
    """Of all clips of x (k, ...); a span as wide as two steps lies around the median."""
    groups = CHANNELS.get(modality.preprocess)
    if groups is None or any(x.shape[1 + group.axis] < group.first + len(group.names) for group in groups):
        yield histogram("Histogram of x", [("x", x.ravel())], (0,), modality.input, step)
        return
    for title, axis, first, names, looks in groups:
        rows = np.moveaxis(x, axis + 1, 0)[first : first + len(names)]
        yield histogram(
            title, [(n, row.ravel()) for n, row in zip(names, rows, strict=True)], looks, modality.input, step
        )


def histogram(
    title: str,
    series: Sequence[tuple[str, NDArray[np.float32]]],
    looks: Sequence[int],
    spec: TensorSpec,
    step: float,
) -> Chart:
    """Shares of values in equal parts of the bounds."""
    shares = [np.histogram(values, BINS, spec.bounds)[0] / values.size for _, values in series]
    x = Axis(*spec.bounds, 0.0, 100.0)
    y = Axis(0.0, 1.08 * max(float(share.max()) for share in shares), 100.0, 0.0)
    lines = [Line(name, outline(share, y), look) for look, (name, _), share in zip(looks, series, shares, strict=True)]
    middle = float(np.median(np.concatenate([values for _, values in series])))
    low, high = spec.bounds
    reach = Span(x.at(max(middle - step, low)), x.at(min(middle + step, high)), "the median \N{PLUS-MINUS SIGN} eps")
    y_ticks = [(y.at(v), f"{number(100 * v, 3)}\N{NARROW NO-BREAK SPACE}%") for v in y.ticks(3) if v > 0]
    name = "share of the values"
    return Chart(
        title, "", spec.unit, name, labels(x, 8), y_ticks, lines, [reach], height=HEIGHT, fill=len(series) == 1
    )


def outline(shares: NDArray[np.float64], y: Axis) -> list[tuple[float, float]]:
    """The steps of a histogram, from left to right."""
    edges = np.linspace(0, 100, len(shares) + 1).tolist()
    return [(x, y.at(float(v))) for k, v in enumerate(shares) for x in edges[k : k + 2]]
