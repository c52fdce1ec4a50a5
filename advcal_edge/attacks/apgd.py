"""Auto-PGD (Croce and Hein 2020, arXiv 2003.01690): PGD with momentum and a step size that halves when it stalls."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from array_api_compat import array_namespace, device

from advcal_edge.attacks.base import Attack, AttackedModel, Proposal, planned, to_numpy
from advcal_edge.attacks.losses import LOSSES, TARGETED_LOSSES, Loss, own_first
from advcal_edge.attacks.pgd import BestIterate, ascend, random_start
from advcal_edge.registry import choose
from advcal_edge.threat import Array, ThreatModel

MOMENTUM = 0.75  # alpha in the paper
PROGRESS = 0.75  # rho: share of the steps in a window that must raise the loss


@dataclass(frozen=True, slots=True)
class APGD:
    """`steps` steps from a random start; a sample is done once the model is fooled on it, even by the clean input."""

    steps: int = 20
    restarts: int = 1
    loss: str = "ce"

    @property
    def most_passes(self) -> tuple[int, int]:
        """Passes of one sample at most: forward alone, and forward with the gradient."""
        return 1 + self.restarts, self.restarts * self.steps

    def propose(
        self, model: AttackedModel, x: Array, y: Array, threat: ThreatModel, rng: np.random.Generator
    ) -> Proposal:
        """Search within `threat` around x (n, ...); needs the model's gradient."""
        losses = [choose("loss", self.loss, LOSSES)] * self.restarts
        return run_each_loss(losses, self.steps, model, x, y, threat, rng)


@dataclass(frozen=True, slots=True)
class TargetedAPGD:
    """`steps` steps toward each of the `targets` best wrong classes of the clean embedding, or as many as exist.

    Any wrong label counts, not only the target. `loss="dlr"` needs four classes, the others two.
    """

    steps: int = 20
    targets: int = 9
    loss: Literal["dlr", "margin", "selective"] = "dlr"
    restarts: int = 1

    def propose(
        self, model: AttackedModel, x: Array, y: Array, threat: ThreatModel, rng: np.random.Generator
    ) -> Proposal:
        """Search within `threat` around x (n, ...); needs the model's gradient."""
        toward = choose("targeted loss", self.loss, TARGETED_LOSSES)
        ranks = range(1, min(self.targets, len(model.centers.labels) - 1) + 1)
        losses = [toward(rank) for _ in range(self.restarts) for rank in ranks]
        return run_each_loss(losses, self.steps, model, x, y, threat, rng)


@planned("APGD", route="gradient", order=20, summary="APGD-{apgd_steps}{apgd_restarts} ({losses})")
def plan_apgd(apgd_steps: int, apgd_restarts: int, losses: tuple[str, ...]) -> list[Attack]:
    """One run per loss."""
    return [APGD(apgd_steps, apgd_restarts, loss) for loss in losses] if apgd_steps else []


@planned("targeted APGD", route="gradient", order=30, summary="targeted APGD-{apgd_steps} x {targets} classes")
def plan_targeted(apgd_steps: int, targets: int, classes: int) -> list[Attack]:
    """APGD toward the best wrong classes; targeted DLR needs four classes."""
    if not targets:
        return []
    return [TargetedAPGD(apgd_steps, min(targets, classes - 1), "dlr" if classes > 3 else "margin")]


@planned("selective APGD", route="abstention", order=10)
def plan_selective(apgd_steps: int) -> list[Attack]:
    """APGD on an engine that may abstain: after answers that are wrong and sure."""
    return [APGD(apgd_steps, loss="selective")] if apgd_steps else []


@planned("targeted selective APGD", route="abstention", order=20)
def plan_targeted_selective(apgd_steps: int, targets: int, classes: int) -> list[Attack]:
    """The same toward each of the best wrong classes."""
    return [TargetedAPGD(apgd_steps, min(targets, classes - 1), "selective")] if targets else []


def run_each_loss(
    losses: Iterable[Loss],
    steps: int,
    model: AttackedModel,
    x: Array,
    y: Array,
    threat: ThreatModel,
    rng: np.random.Generator,
) -> Proposal:
    """Run Auto-PGD once per loss, each from its own start and on the samples that withstood the runs before."""
    xp = array_namespace(x)
    clean = model.runner(x)
    best = BestIterate.start(x, model.fooled(clean, y))
    every = xp.arange(x.shape[0], device=device(x))
    queries = every * 0 + 1
    for loss in losses:
        if bool(best.fooled.all()):
            break
        state = APGDState.start(every, x, y, clean, random_start(rng, x, threat), threat)
        state.keep(~best.fooled)
        search(state, model, loss, steps, threat, best, queries)
    return Proposal(best.x, to_numpy(queries))


def search(
    state: APGDState,
    model: AttackedModel,
    loss: Loss,
    steps: int,
    threat: ThreatModel,
    best: BestIterate,
    queries: Array,
) -> None:
    """Do `steps` steps; fooled samples are dropped. Writes into `best`, and the cost into `queries` (n,)."""
    checkpoints, opened = checkpoint_steps(steps), 0
    for step in range(steps + 1):
        if not state.rows.shape[0]:
            return
        queries[state.rows] += 1
        fooled = state.evaluate(model, loss, backward=step < steps)
        if bool(fooled.any()):
            best.update(state.rows[fooled], state.x[fooled], state.value[fooled], fooled[fooled])
            state.keep(~fooled)
        if step == steps:
            break
        if step in checkpoints:
            state.halve_where_stalled(step - opened)
            opened = step
        state.step(threat, momentum=MOMENTUM if step else 1.0)
    best.update(state.rows, state.best_x, state.best_value, array_namespace(state.x).zeros_like(state.halved))


@dataclass(slots=True)
class APGDState:
    """State of the samples not yet broken; one row per sample in every array, more in `clean` (see `own_first`)."""

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
    halved: Array  # did the last checkpoint halve the step?
    size: Array

    @classmethod
    def start(cls, rows: Array, x0: Array, y: Array, clean: Array, first: Array, threat: ThreatModel) -> APGDState:
        """Start at the points `first` around x0 (n, ...), with a first step as wide as the ball."""
        xp = array_namespace(x0)
        zero, empty = xp.astype(rows, x0.dtype) * 0, xp.zeros_like(x0)
        lowest = zero - xp.inf
        rises = zero - 1  # the first evaluation rises from minus infinity, which does not count as progress
        size = zero + 2 * threat.radius
        return cls(rows, x0, y, clean, first, first, empty, lowest, first, empty, lowest, lowest, rises, zero > 0, size)

    def keep(self, mask: Array) -> None:
        """Continue with the samples where `mask` (n,) holds."""
        self.clean = own_first(self.clean, mask)
        for name in self.__slots__:
            if name != "clean":
                setattr(self, name, getattr(self, name)[mask])

    def evaluate(self, model: AttackedModel, loss: Loss, *, backward: bool = True) -> Array:
        """Evaluate the current points, store the best, and return where (n,) the model is fooled.

        The gradient is not updated without `backward` or if no sample is left.
        """
        xp = array_namespace(self.x)
        if backward:
            z, pullback = model.white_box().vjp(self.x)
        else:
            z = model.runner(self.x)
        value, slope = loss(z, self.y, self.clean, model.centers)
        fooled = model.fooled(z, self.y)
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
        """Apply conditions 1 and 2 of the paper; where either holds, halve the step and restart from the best point."""
        xp = array_namespace(self.x)
        halve = (self.rises < PROGRESS * window) | (~self.halved & (self.best_value <= self.checkpoint_value))
        self.size = xp.where(halve, self.size / 2, self.size)
        self.x = xp.where(self._column(halve), self.best_x, self.x)
        self.gradient = xp.where(self._column(halve), self.best_gradient, self.gradient)
        self.halved, self.checkpoint_value, self.rises = halve, self.best_value, xp.zeros_like(self.rises)

    def step(self, threat: ThreatModel, momentum: float) -> None:
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
