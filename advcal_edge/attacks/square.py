"""Square attack (Andriushchenko et al. 2020, arXiv 1912.00049): random windows, scores, no gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from advcal_edge.attacks import square_l2, square_linf
from advcal_edge.attacks.base import Proposal, Victim, to_numpy
from advcal_edge.attacks.losses import LOSSES, NEED_CLEAN, own_first
from advcal_edge.attacks.windows import halvings
from advcal_edge.registry import choose
from advcal_edge.threat import Array, ThreatModel


@dataclass(frozen=True, slots=True)
class Square:
    """Up to `queries` forward passes a sample; `share` is the part of the input that the first windows cover."""

    queries: int = 1000
    share: float = 0.8
    loss: str = "margin"

    def propose(self, victim: Victim, x: Array, y: Array, threat: ThreatModel, rng: np.random.Generator) -> Proposal:
        """Search within `threat` around x (n, c, ...), or (n, ..., c) where the layout has the channels last."""
        xp, loss = array_namespace(x), choose("loss", self.loss, LOSSES)
        looks = int(self.loss in NEED_CLEAN)
        clean = victim.runner(x) if looks else None
        result, used = xp.asarray(x, copy=True), np.full(x.shape[0], looks, dtype=np.int64)
        alive = np.arange(x.shape[0])
        last = victim.runner.spec.layout.endswith("c")  # as points have theirs: windows then run over the points
        value = np.full(len(alive), -np.inf, dtype=np.float32)
        delta = np.zeros((x.shape[0], x.shape[-1], *x.shape[1:-1]) if last else tuple(x.shape), dtype=np.float32)
        for query in range(self.queries - looks):
            share = self.share * halvings(query, self.queries)
            trial = first(rng, delta, threat) if query == 0 else move(rng, delta, threat, share)
            change = victim.place(np.moveaxis(trial, 1, -1).copy() if last else trial)
            candidate = threat.project(x + threat.radius * change, x)
            z = victim.runner(candidate)
            found, fooled = to_numpy(loss(z, y, clean, victim.centers)[0]), to_numpy(victim.fooled(z, y))
            used[alive] += 1
            better = fooled | (found > value)
            if threat.norm == "l2" and threat.radius:  # what the bounds have cut off is room for the next move
                cut = to_numpy((candidate - x) / threat.radius)
                trial = np.moveaxis(cut, -1, 1) if last else cut
            delta[better], value[better] = trial[better], found[better]
            result[victim.place(alive[better])] = candidate[victim.place(better)]
            if fooled.any():
                stay, mask = ~fooled, victim.place(~fooled)
                alive, delta, value = alive[stay], delta[stay], value[stay]
                clean = own_first(clean, mask) if looks else None
                x, y = x[mask], y[mask]
            if not len(alive):
                break
        return Proposal(result, used)


def first(rng: np.random.Generator, delta: NDArray[np.float32], threat: ThreatModel) -> NDArray[np.float32]:
    """The first change of all samples, shaped like `delta` (n, c, *sides), in units of the radius."""
    return (square_linf.stripes if threat.norm == "linf" else square_l2.tiles)(rng, delta.shape)


def move(
    rng: np.random.Generator, delta: NDArray[np.float32], threat: ThreatModel, share: float
) -> NDArray[np.float32]:
    """What to try next, from the best change so far and the part of the input that windows cover."""
    return (square_linf.repaint if threat.norm == "linf" else square_l2.shift)(rng, delta, share)
