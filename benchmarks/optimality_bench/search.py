"""From an attack within one radius to the distance of each sample: bisection of the radius, as in AttackBench.

The distance of a sample is the smallest radius of the grid within which the attack has asked the model about an
adversarial input, or has returned one. How far that input lies inside the ball does not count: that tells how an attack
uses the ball and whether it goes on after a success, and in l2 it differs more between libraries than their strength.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from advcal_edge.threat import ThreatModel
from optimality_bench.measure import Distances
from optimality_bench.meter import Meter

Run = Callable[[Tensor, Tensor, ThreatModel], Tensor]
"""From one batch x (n, ...), its classes (n,) and a ball to x_adv (n, ...)."""

ROUNDING = 1e-4
"""The distance of an input may exceed the radius by this part of it."""


@dataclass(slots=True)
class Found:
    """Distances of all samples; what is left, and passes per attacked sample, at the full radius; seconds of it all."""

    distances: Distances
    left: float
    forwards: float
    backwards: float
    seconds: float
    searched: float
    """Passes per attacked sample, forward and backward, at the smaller radii."""


class Search:
    """One attack of one library on the samples x (n, ...) of classes y (n,), through a metered model."""

    def __init__(self, run: Run, meter: Meter, x: Tensor, y: Tensor, threat: ThreatModel, batch: int, seed: int):
        self.run, self.meter, self.x, self.y, self.threat = run, meter, x, y, threat
        self.batch, self.seed = batch, seed
        self.distances: Distances = np.where(self._right(x, y), np.inf, 0.0)
        self.forwards = self.backwards = 0

    def bisect(self, rounds: int) -> Found:
        """Attack within the full radius; then `rounds` times halve the range in which the distance of a sample lies."""
        start = time.process_time()
        rows = np.flatnonzero(self.distances > 0)
        attacked, levels = max(len(rows), 1), 2**rounds
        stand = self.attempt(rows, self.threat)
        forwards, backwards = self.forwards, self.backwards
        low = np.zeros(len(self.distances), dtype=np.int64)
        for _ in range(rounds):
            high = np.rint(np.minimum(self.distances / self.threat.eps, 2) * levels).astype(np.int64)
            middle = (low + high) // 2
            still = (high <= levels) & (high - low > 1)
            for level in np.unique(middle[still]):
                ball = self.threat.with_eps(self.threat.eps * int(level) / levels)
                group = np.flatnonzero(still & (middle == level))
                self.attempt(group, ball)
                low[group[self.distances[group] > ball.eps]] = level
        seconds = time.process_time() - start
        more = (self.forwards + self.backwards - forwards - backwards) / attacked
        left = float(stand.sum()) / max(len(self.distances), 1)
        return Found(self.distances, left, forwards / attacked, backwards / attacked, seconds, more)

    def attempt(self, rows: NDArray[np.int64], ball: ThreatModel) -> NDArray[np.bool_]:
        """Attack the samples `rows` (m,) within `ball`; lowers their distances, returns where (m,) the label is right.

        Raises:
            SystemExit: an attack left the ball.
        """
        stand = []
        np.random.seed(self.seed)  # noqa: NPY002 - some libraries draw from the global streams
        torch.manual_seed(self.seed)
        for start in range(0, len(rows), self.batch):
            part = rows[start : start + self.batch]
            x, y = self.x[part], self.y[part]
            with self.meter.watched(x, y, ball) as watch:
                x_adv = self.run(x, y, ball).detach()
            farthest = float(ball.distance(x_adv, x).max())
            if farthest > ball.eps * 1.001:
                raise SystemExit(f"an attack left the ball: {farthest:g} > {ball.eps:g}")
            self.forwards += watch.forwards
            self.backwards += watch.backwards
            with torch.no_grad():
                watch.see(x_adv, labels := self.meter.labels(self.meter(x_adv)))
            reached = watch.nearest.numpy() <= ball.eps * (1 + ROUNDING)
            self.distances[part] = np.where(reached, np.minimum(self.distances[part], ball.eps), self.distances[part])
            stand.append((labels == y).numpy())
        return np.concatenate(stand) if stand else np.zeros(0, dtype=np.bool_)

    def _right(self, x: Tensor, y: Tensor) -> NDArray[np.bool_]:
        with torch.no_grad():
            labels = [self.meter.labels(self.meter(part)) for part in torch.split(x, self.batch)]
        right: NDArray[np.bool_] = (torch.cat(labels) == y).numpy()
        return right
