"""AttackBench's measure (Cina et al. 2024, arXiv 2404.19460): how close an attack comes to the best of a pool.

An attack gives each sample a distance: of the nearest adversarial input that it has found, zero where the clean label
is wrong, infinite where it has found none. Robust accuracy at a radius is the share of samples whose distance is
larger; over the radii it is the attack's security curve. The best attack of a pool takes the smallest distance of each
sample.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Distances = NDArray[np.float64]
"""Distance (n,) of the nearest adversarial input of each sample, `inf` where none was found."""


def robust_accuracy(distances: Distances, radius: float) -> float:
    """Share of samples whose distance is larger than `radius`: one point of the security curve."""
    return float((distances > radius).mean())


def area(distances: Distances, limit: float) -> float:
    """Area under the security curve from radius zero to `limit`.

    The curve is a step function that falls at every distance, so its integral is exactly the mean of the distances,
    each cut off at `limit`. The authors' program joins the points of the curve by straight lines instead.
    """
    return float(np.minimum(distances, limit).mean())


def best_of(pool: Iterable[Distances]) -> Distances:
    """The smallest distance (n,) of each sample over a pool.

    Raises:
        ValueError: the pool is empty.
    """
    return np.minimum.reduce(list(pool))


def local_optimality(distances: Distances, best: Distances, limit: float) -> float | None:
    """1 - (area of the attack - area of the best) / (clean accuracy * limit - area of the best).

    One for an attack as good as the best on every sample, zero for one that finds nothing within `limit`. The ends of
    the scale are the best curve and that of no attack. None if the best finds nothing either.
    """
    least = area(best, limit)
    scale = limit * robust_accuracy(best, 0.0) - least
    return 1 - (area(distances, limit) - least) / scale if scale > 0 else None


def lead(ours: Distances, theirs: Distances, best: Distances, limit: float, draws: int = 2000) -> dict[str, Any] | None:
    """Optimality of `ours` minus that of `theirs`, with the 95 % interval of a bootstrap over the samples.

    Each draw takes the same samples for both and for the best. None if the best finds nothing within `limit`.
    """
    least = np.minimum(best, limit)
    gained = np.minimum(theirs, limit) - np.minimum(ours, limit)
    scale = limit * (best > 0) - least
    if not scale.sum() > 0:
        return None
    rows = np.random.default_rng(0).integers(0, len(best), size=(draws, len(best)))
    below = scale[rows].sum(axis=1)
    drawn = gained[rows].sum(axis=1)[below > 0] / below[below > 0]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {"difference": float(gained.sum() / scale.sum()), "interval": [float(low), float(high)]}
