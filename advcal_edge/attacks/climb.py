"""One run of Auto-PGD (Croce and Hein 2020, arXiv 2003.01690, algorithm 1) on the samples still standing."""

from __future__ import annotations

import math
from dataclasses import dataclass

from array_api_compat import array_namespace

from advcal_edge.attacks.base import Victim
from advcal_edge.attacks.best import Best
from advcal_edge.attacks.losses import Loss, own_first
from advcal_edge.attacks.step import ascend
from advcal_edge.threat import Array, ThreatModel

MOMENTUM = 0.75  # alpha in the paper
PROGRESS = 0.75  # rho: share of the steps in a window that must raise the loss


def search(
    climb: Climb, victim: Victim, loss: Loss, steps: int, threat: ThreatModel, best: Best, queries: Array
) -> None:
    """`steps` steps, a sample leaving once it is fooled; writes into `best`, and what it cost into `queries` (n,)."""
    checkpoints, opened = checkpoint_steps(steps), 0
    for step in range(steps + 1):
        if not climb.rows.shape[0]:
            return
        queries[climb.rows] += 1
        fooled = climb.look(victim, loss, backward=step < steps)
        if bool(fooled.any()):
            best.update(climb.rows[fooled], climb.x[fooled], climb.value[fooled], fooled[fooled])
            climb.keep(~fooled)
        if step == steps:
            break
        if step in checkpoints:
            climb.halve_where_stalled(step - opened)
            opened = step
        climb.advance(threat, momentum=MOMENTUM if step else 1.0)
    best.update(climb.rows, climb.best_x, climb.best_value, array_namespace(climb.x).zeros_like(climb.halved))


@dataclass(slots=True)
class Climb:
    """State of the samples still standing; every array has one row a sample, `clean` more (see `own_first`)."""

    rows: Array
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
    def start(cls, rows: Array, x0: Array, y: Array, clean: Array, first: Array, threat: ThreatModel) -> Climb:
        """From the points `first` around x0 (n, ...), with a first step as wide as the ball."""
        xp = array_namespace(x0)
        zero, empty = xp.astype(rows, x0.dtype) * 0, xp.zeros_like(x0)
        lowest = zero - xp.inf
        rises = zero - 1  # the first look rises from minus infinity, which is no progress
        size = zero + 2 * threat.radius
        return cls(rows, x0, y, clean, first, first, empty, lowest, first, empty, lowest, lowest, rises, zero > 0, size)

    def keep(self, mask: Array) -> None:
        """Go on with the samples where `mask` (n,) holds."""
        self.clean = own_first(self.clean, mask)
        for name in self.__slots__:
            if name != "clean":
                setattr(self, name, getattr(self, name)[mask])

    def look(self, victim: Victim, loss: Loss, *, backward: bool = True) -> Array:
        """Evaluate the current points, remember the best, and say where (n,) the victim is fooled.

        The gradient is left as it was without `backward`, and where nothing is left to be climbed.
        """
        xp = array_namespace(self.x)
        if backward:
            z, pullback = victim.white_box().vjp(self.x)
        else:
            z = victim.runner(self.x)
        value, slope = loss(z, self.y, self.clean, victim.centers)
        fooled = victim.fooled(z, self.y)
        if backward and not bool(fooled.all()):
            self.gradient = pullback(slope)
        value = xp.astype(value, self.value.dtype)
        self.rises = self.rises + xp.astype(value > self.value, value.dtype)
        self.value = value
        better = value > self.best_value
        self.best_x = xp.where(self._column(better), self.x, self.best_x)
        self.best_gradient = xp.where(self._column(better), self.gradient, self.best_gradient)
        self.best_value = xp.where(better, value, self.best_value)
        return fooled

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
