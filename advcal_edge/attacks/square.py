"""Square attack (Andriushchenko et al. 2020, arXiv 1912.00049, algorithm 2): random windows, scores, no gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from advcal_edge.attacks.base import Proposal, Victim, to_numpy
from advcal_edge.attacks.losses import margin
from advcal_edge.errors import ConfigError
from advcal_edge.threat import Array, ThreatModel


@dataclass(frozen=True, slots=True)
class Square:
    """Up to `queries` forward passes a sample; `share` is the part of the input that the first windows cover."""

    queries: int = 1000
    share: float = 0.8

    def propose(self, victim: Victim, x: Array, y: Array, threat: ThreatModel, rng: np.random.Generator) -> Proposal:
        """Search within an linf `threat` around x (n, c, ...), or (n, ..., c) where the layout has the channels last.

        Raises:
            ConfigError: another norm than linf.
        """
        if threat.norm != "linf":
            raise ConfigError(f"Square is implemented for `linf`; found `{threat.norm}`")
        xp = array_namespace(x)
        result, used = xp.asarray(x, copy=True), np.zeros(x.shape[0], dtype=np.int64)
        alive = np.arange(x.shape[0])
        last = victim.runner.spec.layout.endswith("c")  # as points have theirs: windows then run over the points
        delta = stripes(rng, (x.shape[0], x.shape[-1], *x.shape[1:-1]) if last else tuple(x.shape))
        value = np.full(len(alive), -np.inf, dtype=np.float32)
        for query in range(self.queries):
            rows = victim.place(alive)
            trial = delta.copy()
            if query:
                paint_windows(rng, trial, self.share * halvings(query, self.queries))
            change = np.moveaxis(trial, 1, -1).copy() if last else trial
            candidate = threat.project(x[rows] + threat.radius * victim.place(change), x[rows])
            found = to_numpy(margin(victim.runner(candidate), y[rows], candidate, victim.centers)[0])
            used[alive] += 1
            better = found > value
            delta[better], value[better] = trial[better], found[better]
            result[victim.place(alive[better])] = candidate[victim.place(np.flatnonzero(better))]
            standing = value <= 0
            alive, delta, value = alive[standing], delta[standing], value[standing]
            if not len(alive):
                break
        return Proposal(result, used)


def stripes(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """First guess: each channel striped along the last axis, all other places alike, in {-1, 1}."""
    narrow = (shape[0], shape[1], *(1,) * (len(shape) - 3), shape[-1])
    signs = rng.choice(np.array([-1, 1], dtype=np.float32), size=narrow)
    return np.broadcast_to(signs, shape).copy()


def paint_windows(rng: np.random.Generator, delta: NDArray[np.float32], share: float) -> None:
    """Set one random window of each sample, covering `share` of its places, to a random sign per channel, in place."""
    n, channels, *sides = delta.shape
    inside = np.ones((n, 1, *sides), dtype=np.bool_)
    for axis, side in enumerate(sides):
        width = min(max(round(side * share ** (1 / len(sides))), 1), max(side - 1, 1))
        start = rng.integers(0, side - width + 1, size=n)
        places = np.arange(side)[None] - start[:, None]
        shape = [n, 1, *(1,) * len(sides)]
        shape[axis + 2] = side
        inside &= ((places >= 0) & (places < width)).reshape(shape)
    signs = rng.choice(np.array([-1, 1], dtype=np.float32), size=(n, channels, *(1,) * len(sides)))
    np.copyto(delta, np.broadcast_to(signs, delta.shape), where=np.broadcast_to(inside, delta.shape))


def halvings(query: int, queries: int) -> float:
    """Factor on the share of a window: halved at fixed points of a schedule of 10,000, stretched to `queries`."""
    position = query * 10_000 // queries
    milestones = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
    return 0.5 ** sum(position > milestone for milestone in milestones)
