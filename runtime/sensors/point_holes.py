"""Points that are no points: rays that hit nothing, which drivers fill with NaN, infinity, the origin or another value.

A place is scanned once or a few times. Where several points lie exactly at the origin and no other place repeats like
that, they are holes, unless `input.invalid` says which values are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import ConfigError
from advcal_edge.runtime.sensors.holes import declared_invalid
from advcal_edge.spec import Modality

SEVERAL = 2
SAMPLE = 4096
"""Points among which other places that repeat are looked for."""

CROWDED = 4
"""The origin is a hole if it holds this many times the points of any other place."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Is the origin a hole, which other values are, or is that for the cloud to tell?"""

    origin: bool = False
    values: tuple[float, ...] = ()
    told: bool = False


def declared_holes(modality: Modality) -> Missing:
    """What `input.invalid` says; NaN and infinite coordinates are holes in any case.

    Raises:
        ConfigError: it names rows, which clouds do not have.
    """
    text, declared = modality.text("invalid"), declared_invalid(modality)
    if declared.names_rows:
        raise ConfigError(
            f"`input.invalid` is `{text.rstrip(',')}`; expected values that are no coordinates, or `origin`, for"
            " points",
            hint="rows of telemetry are of pictures; like `--set input.invalid=origin,-1`",
        )
    others = tuple(value for value in declared.values if value != 0)
    return Missing(declared.origin or 0.0 in declared.values, others, bool(text))


def find_holes(cloud: NDArray[np.float64], invalid: Missing) -> NDArray[np.bool_]:
    """Which points (p,) of a cloud (p, 3) are holes.

    A point is one if any coordinate is not finite or has a declared value; of 0, if all three have it.
    """
    cloud = np.asarray(cloud)
    x, y, z = cloud.T  # by column: reductions over three values are ten times as slow
    holes: NDArray[np.bool_] = np.logical_not(np.isfinite(x) & np.isfinite(y) & np.isfinite(z))
    for value in invalid.values:
        holes |= (cloud == np.float64(value)).any(axis=1) | (cloud == np.float32(value)).any(axis=1)
    if invalid.told and not invalid.origin:
        return holes
    at_origin: NDArray[np.bool_] = (x == 0) & (y == 0) & (z == 0)
    if invalid.origin or _is_crowded(cloud[~(at_origin | holes)], int(at_origin.sum())):
        holes |= at_origin
    return holes


def _is_crowded(others: NDArray[np.float64], points: int) -> bool:
    """Do `points` at one place stand out against all other places?"""
    if points < SEVERAL:
        return False
    if not len(others):
        return True
    step = max(1, len(others) // SAMPLE)
    looked_at = others[::step]
    _, counts = np.unique(looked_at, axis=0, return_counts=True)
    most = int(counts.max())
    return most == 1 or points > CROWDED * most * step
