"""Point clouds from three sides, coloured by height."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
from numpy.typing import NDArray

from advcal_edge.look.facts import quantity, share
from advcal_edge.look.projection import projections
from advcal_edge.look.sight import Fact, Figure, Seen, View
from advcal_edge.runtime.sensors.frame import Array

MOST = 60_000
"""Points drawn; more would cover each other."""


def view(seen: Seen) -> View:
    """The view of a point cloud."""
    cloud = cast(Array, seen.frame).astype(np.float64)
    stored, columns = extent(cast(Array, seen.stored))
    low, high, centre = cloud.min(axis=0), cloud.max(axis=0), cloud.mean(axis=0)
    radius = float(np.linalg.norm(cloud - centre, axis=1).max())
    origin = int((cloud == 0).all(axis=1).sum())
    count = seen.modality.input.shape[0]
    measured = [
        Fact("unit", "the file's own, metres for most scanners"),
        *(
            Fact(name, f"{quantity(a)} to {quantity(b)}")
            for name, a, b in zip("xyz", low.tolist(), high.tolist(), strict=True)
        ),
        Fact("centroid", ", ".join(quantity(float(value), "", 4) for value in centre)),
        Fact("farthest from it", quantity(radius)),
        Fact("holes", f"{share(stored - len(cloud), stored, 'points')} dropped"),
        Fact("at the origin", f"{share(origin, len(cloud), 'points')} kept"),
    ]
    fitted = [
        Fact("sample", f"{min(count, len(cloud))} of {len(cloud)} points, each the farthest from those before"),
        *([Fact("too few", f"repeated in turn to {count}")] if len(cloud) < count else []),
        Fact("scaled", "the centroid of the sample is the origin, its farthest point at distance 1"),
    ]
    drawn = cloud if len(cloud) <= MOST else cloud[np.random.default_rng(0).choice(len(cloud), MOST, replace=False)]
    note = "" if len(drawn) == len(cloud) else f"{MOST} of {len(cloud)} points"
    x: list[Figure] = []
    for clip in seen.x:
        x += projections(clip.astype(np.float64), "radii", limits=seen.modality.input.bounds)
    length = seen.step * radius_of(seen.x[0], cloud, radius)
    return View(
        [Fact("points", str(stored)), Fact("columns", columns)],
        measured,
        fitted,
        list(projections(drawn, "the file's unit", note)),
        x,
        f"{100 * seen.step:.3g} % of the radius per coordinate: {quantity(length, '', 3)} in the file's unit",
    )


def extent(stored: Array) -> tuple[int, str]:
    """Number of points in a table (p, c), an organised cloud (h, w, c) or records (p,), and their columns."""
    if stored.dtype.names is not None:
        return stored.size, ", ".join(stored.dtype.names)
    return math.prod(stored.shape[:-1]), str(stored.shape[-1])


def radius_of(x: NDArray[np.float32], cloud: NDArray[np.float64], otherwise: float) -> float:
    """The file's length of one unit of x: the ratio of the extents of cloud and sample."""
    extent = float(np.ptp(x.astype(np.float64), axis=0).max())
    return float(np.ptp(cloud, axis=0).max()) / extent if extent > 0 else otherwise
