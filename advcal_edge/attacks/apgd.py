"""Auto-PGD (Croce and Hein 2020, arXiv 2003.01690, algorithm 1): momentum, and a step that halves where it stalls."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from advcal_edge.attacks.base import Proposal, Victim, to_numpy
from advcal_edge.attacks.losses import LOSSES, Loss
from advcal_edge.attacks.step import ascend, draw_uniform
from advcal_edge.registry import choose
from advcal_edge.threat import Array, ThreatModel

MOMENTUM = 0.75  # alpha in the paper
PROGRESS = 0.75  # rho: share of the steps in a window that must raise the loss


@dataclass(frozen=True, slots=True)
class APGD:
    """`steps` steps from a random start; a sample leaves as soon as the victim is fooled on it."""

    steps: int = 20
    restarts: int = 1
    loss: str = "ce"

    def propose(self, victim: Victim, x: Array, y: Array, threat: ThreatModel, rng: np.random.Generator) -> Proposal:
        """Search within `threat` around x (n, ...); needs the victim's gradient."""
        result = array_namespace(x).asarray(x, copy=True)
        queries = np.zeros(x.shape[0], dtype=np.int64)
        clean = victim.runner(x)
        alive = np.arange(x.shape[0])
        for _ in range(self.restarts):
            noise = draw_uniform(rng, x, -threat.radius, threat.radius)
            if not len(alive):
                break
            rows = victim.place(alive)
            climb = Climb.start(alive, x[rows], y[rows], clean[rows], noise[rows], threat)
            alive = self._run(climb, victim, threat, result, queries)
        return Proposal(result, queries)

    def _run(
        self, climb: Climb, victim: Victim, threat: ThreatModel, result: Array, queries: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """One restart; writes what it found into `result` and returns the rows that withstood."""
        loss = choose("loss", self.loss, LOSSES)
        checkpoints, opened = checkpoint_steps(self.steps), 0
        for step in range(self.steps + 1):
            queries[climb.rows] += 1
            fooled = climb.look(victim, loss)
            if to_numpy(fooled).any():
                result[victim.place(climb.rows[to_numpy(fooled)])] = climb.x[fooled]
                climb = climb.keep(~fooled)
            if not len(climb.rows) or step == self.steps:
                break
            if step in checkpoints:
                climb.halve_where_stalled(step - opened)
                opened = step
            climb.advance(threat, momentum=MOMENTUM if step else 1.0)
        if len(climb.rows):
            result[victim.place(climb.rows)] = climb.best_x
        return climb.rows


@dataclass(slots=True)
class Climb:
    """State of the samples still standing; every array has one row a sample."""

    rows: NDArray[np.int64]
    x0: Array
    y: Array
    clean: Array
    x: Array
    previous: Array
    gradient: Array
    value: Array
    best_x: Array
    best_gradient: Array
    best_value: Array
    checkpoint_value: Array  # best value at the last checkpoint
    rises: Array  # steps in this window that raised the loss
    halved: Array  # whether the last checkpoint halved the step
    size: Array

    @classmethod
    def start(
        cls, rows: NDArray[np.int64], x: Array, y: Array, clean: Array, noise: Array, threat: ThreatModel
    ) -> Climb:
        """From a random point in the ball, with the first step as wide as the ball."""
        xp = array_namespace(x)
        first, zero = threat.project(x + noise, x), xp.zeros_like(clean[:, 0])
        lowest = zero - xp.inf
        empty = xp.zeros_like(x)
        rises = zero - 1  # the first look rises from minus infinity, which is no progress
        size = zero + 2 * threat.radius
        return cls(rows, x, y, clean, first, first, empty, lowest, first, empty, lowest, lowest, rises, zero > 0, size)

    def keep(self, mask: Array) -> Climb:
        """Only the samples where `mask` (n,) holds."""
        rows = to_numpy(mask)
        return Climb(self.rows[rows], *(getattr(self, field.name)[mask] for field in fields(self)[1:]))

    def look(self, victim: Victim, loss: Loss) -> Array:
        """Evaluate the current points, remember the best, and say where (n,) the victim is fooled."""
        xp = array_namespace(self.x)
        z, pullback = victim.white_box().vjp(self.x)
        value, slope = loss(z, self.y, self.clean, victim.centers)
        self.gradient = pullback(slope)
        self.rises = self.rises + xp.astype(value > self.value, value.dtype)
        self.value = value
        better = value > self.best_value
        self.best_x = xp.where(self._column(better), self.x, self.best_x)
        self.best_gradient = xp.where(self._column(better), self.gradient, self.best_gradient)
        self.best_value = xp.where(better, value, self.best_value)
        return victim.fooled(z, self.y)

    def halve_where_stalled(self, window: int) -> None:
        """Conditions 1 and 2 of the paper; where either holds, halve the step and go on from the best point."""
        xp = array_namespace(self.x)
        halve = (self.rises < PROGRESS * window) | (~self.halved & (self.best_value <= self.checkpoint_value))
        self.size = xp.where(halve, self.size / 2, self.size)
        self.x = xp.where(self._column(halve), self.best_x, self.x)
        self.gradient = xp.where(self._column(halve), self.best_gradient, self.gradient)
        self.halved, self.checkpoint_value, self.rises = halve, self.best_value, xp.zeros_like(self.rises)

    def advance(self, threat: ThreatModel, momentum: float) -> None:
        """One projected step with momentum (equation 1)."""
        jump = threat.project(self.x + self._column(self.size) * ascend(self.gradient, threat.norm), self.x0)
        inertia = (1 - momentum) * (self.x - self.previous)
        moved = threat.project(self.x + momentum * (jump - self.x) + inertia, self.x0)
        self.previous, self.x = self.x, moved

    def _column(self, per_sample: Array) -> Array:
        return per_sample.reshape((-1,) + (1,) * (self.x.ndim - 1))


def checkpoint_steps(steps: int) -> frozenset[int]:
    """Steps at which the step size may halve: windows shrink from 22 % of the budget to 6 % (section 3.1)."""
    positions = [0.0, 0.22]
    while positions[-1] < 1:
        positions.append(positions[-1] + max(positions[-1] - positions[-2] - 0.03, 0.06))
    return frozenset(math.ceil(round(p * steps, 9)) for p in positions[1:] if p < 1)
