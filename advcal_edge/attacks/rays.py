"""RayS (Chen and Gu 2020, arXiv 2006.12792, algorithm 2): labels only, along rays whose signs flip block by block."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from advcal_edge.attacks.base import Attack, AttackedModel, Proposal, planned, to_numpy
from advcal_edge.threat import Array, ThreatModel


@dataclass(frozen=True, slots=True)
class RayS:
    """Up to `queries` labels per sample; a sample is done at its first wrong label inside the ball.

    A ray runs from the clean sample toward signs in {-1, 1}; its reach is the distance at which the label is wrong. A
    block of signs is flipped, with smaller blocks over time, and the flip is kept if it shortens the reach. A bisection
    then measures the reach to `tolerance` of the farthest possible one. In l2 distances run along the same rays.
    """

    queries: int = 1000
    tolerance: float = 1e-4

    def propose(
        self, model: AttackedModel, x: Array, y: Array, threat: ThreatModel, rng: np.random.Generator
    ) -> Proposal:
        """Search within `threat` around x (n, ...); needs only whether the model is fooled."""
        xp, n = array_namespace(x), x.shape[0]
        result, used = xp.asarray(x, copy=True), np.ones(n, dtype=np.int64)
        if not self.queries:
            return Proposal(result, used * 0)
        size = math.prod(x.shape[1:])
        scale = 1.0 if threat.norm == "linf" else 1 / math.sqrt(size)  # of signs, so that a ray's step has length one
        farthest = (threat.bounds[1] - threat.bounds[0]) / scale  # where every ray has left the bounds
        stands = ~model.fooled(model.runner(x), y)
        alive, x, y = np.flatnonzero(to_numpy(stands)), x[stands], y[stands]
        rays = Rays.start(len(alive), size, threat.radius, farthest, self.tolerance * farthest)
        for _ in range(self.queries - 1):
            if not len(alive):
                break
            distance = rays.asked()
            step = (distance * scale).astype(np.float32)[:, None] * rays.trial
            moved = x + model.place(step.reshape(tuple(x.shape)))
            candidate, inside = within(threat, x, moved, model.place(distance <= threat.radius))
            fooled = to_numpy(model.fooled(model.runner(candidate), y))
            used[alive] += 1
            won = fooled & to_numpy(inside)
            rays.answer(fooled)
            if won.any():
                result[model.place(alive[won])] = candidate[model.place(won)]
                stands = model.place(~won)
                alive, x, y = alive[~won], x[stands], y[stands]
                rays.keep(~won)
        step = np.float32(threat.radius * scale) * rays.signs
        result[model.place(alive)] = threat.project(x + model.place(step.reshape(tuple(x.shape))), x)
        return Proposal(result, used)


@planned("RayS", route="label only", order=10, summary="label only {label_queries}")
def plan_rays(label_queries: int) -> list[Attack]:
    """The attack that needs labels only."""
    return [RayS(queries=label_queries)] if label_queries else []


def within(threat: ThreatModel, x0: Array, x: Array, meant: Array) -> tuple[Array, Array]:
    """`x` (n, ...) clipped to the bounds, and where (n,) it then lies in the ball around x0.

    Samples `meant` (n,) to lie in the ball are not excluded by rounding; others may have been clipped into it.
    """
    mask = meant.reshape((-1,) + (1,) * (x.ndim - 1))
    cut = ThreatModel("linf", 1.0, threat.bounds).project(x, x0)
    clipped = array_namespace(x).where(mask, threat.project(x, x0), cut)
    return clipped, meant | (threat.distance(clipped, x0) <= threat.eps)


@dataclass(slots=True)
class Rays:
    """The next query per sample (row): does a flipped ray fool at the current reach, or how far must it go?

    `low` to `high` brackets the reach of the flipped ray while it is measured, and is empty (low = high) otherwise.
    """

    signs: NDArray[np.float32]  # (n, size): the best ray so far
    trial: NDArray[np.float32]  # the same with one block flipped
    reach: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    level: NDArray[np.int64]
    block: NDArray[np.int64]
    radius: float
    tolerance: float

    @classmethod
    def start(cls, n: int, size: int, radius: float, farthest: float, tolerance: float) -> Rays:
        """Start with upward rays not known to fool anywhere; the first trial flips all signs."""
        signs = np.ones((n, size), dtype=np.float32)
        zero, reach = np.zeros(n, dtype=np.int64), np.full(n, max(farthest, radius))
        return cls(signs, -signs, reach, reach * 0, reach * 0, zero, zero.copy(), radius, tolerance)

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Continue with the samples where `mask` holds."""
        for name in ("signs", "trial", "reach", "low", "high", "level", "block"):
            setattr(self, name, getattr(self, name)[mask])

    def asked(self) -> NDArray[np.float64]:
        """The distance (n,) along `trial` to query next."""
        middle = (self.low + self.high) / 2
        # a bracket that has closed on the ball is decided at the ball itself
        middle = np.where(self._closed() & (self.low == self.radius), self.radius, middle)
        return np.where(self.high > 0, middle, self.reach)

    def answer(self, fooled: NDArray[np.bool_]) -> None:
        """Update the state, given which queried points fool; the caller drops samples that fool inside the ball."""
        measuring, closed = self.high > 0, self._closed()
        settled = measuring & closed  # queried at the ball itself, and not fooled
        opened = ~measuring & fooled
        down, up = measuring & ~closed & fooled, measuring & ~closed & ~fooled
        middle = (self.low + self.high) / 2
        self.high = np.where(opened, self.reach, np.where(down, middle, self.high))
        self.low = np.where(opened, self.radius, np.where(up, middle, self.low))
        done = settled | ((down | up) & self._closed() & (self.low > self.radius))
        self.signs[done], self.reach[done] = self.trial[done], self.high[done]
        self.low[done] = self.high[done] = 0.0
        self._next_block(np.flatnonzero(done | (~measuring & ~fooled)))

    def _closed(self) -> NDArray[np.bool_]:
        return self.high - self.low <= self.tolerance

    def _next_block(self, rows: NDArray[Any]) -> None:
        """Flip the next block; after a level the block size halves, and after the finest level it starts over."""
        size = self.signs.shape[1]
        self.block[rows] += 1
        ended = rows[self.block[rows] * -(-size // 2 ** self.level[rows]) >= size]
        self.block[ended] = 0
        self.level[ended] = (self.level[ended] + 1) % (math.ceil(math.log2(max(size, 2))) + 1)
        self.trial[rows] = self.signs[rows]
        width = -(-size // 2 ** self.level[rows])
        place = np.arange(size)[None]
        start = (self.block[rows] * width)[:, None]
        flip = (place >= start) & (place < start + width[:, None])
        self.trial[rows] = np.where(flip, -self.signs[rows], self.signs[rows])
