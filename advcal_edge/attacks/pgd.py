"""Projected gradient descent (Madry et al. 2018, arXiv 1706.06083) with restarts and momentum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from array_api_compat import array_namespace, device

from advcal_edge.attacks.base import Attack, AttackedModel, Proposal, planned, to_numpy
from advcal_edge.attacks.losses import LOSSES, NEED_CLEAN, own_first
from advcal_edge.errors import ConfigError
from advcal_edge.registry import choose
from advcal_edge.threat import Array, Norm, ThreatModel


@dataclass(frozen=True, slots=True)
class PGD:
    """`steps` steps of `step` (a fraction of eps; default 2.5 / steps) from a random start in the ball.

    With `select="best"` a sample is done as soon as the model is fooled on it, even by the clean input; samples that
    withstand get their iterate of highest loss. With `"strongest"` all samples run to the end and each gets the
    iterate that fools with the highest loss: for inputs that must transfer to another model, or push the true label
    below more than one place. With `"last"` iterates are not judged and each sample gets the last one, as in
    adversarial training.
    """

    steps: int = 10
    step: float | None = None
    restarts: int = 1
    momentum: float = 0.0
    loss: str = "ce"
    select: Literal["best", "strongest", "last"] = "best"

    def __post_init__(self) -> None:
        if self.select == "last" and self.restarts != 1:
            raise ConfigError(f'`select="last"` keeps one iterate and has no use for {self.restarts} restarts')

    @property
    def most_passes(self) -> tuple[int, int]:
        """Passes of one sample at most: forward alone, and forward with the gradient."""
        if self.select == "last":
            return int(self.loss in NEED_CLEAN), self.steps
        return 1 + self.restarts, self.restarts * self.steps

    def propose(
        self, model: AttackedModel, x: Array, y: Array, threat: ThreatModel, rng: np.random.Generator
    ) -> Proposal:
        """Search within `threat` around x (n, ...); needs the model's gradient."""
        xp = array_namespace(x)
        if self.select == "last":
            return self._last(model, x, y, threat, rng)
        clean = model.runner(x)
        best = BestIterate.start(x, model.fooled(clean, y))
        every = xp.arange(x.shape[0], device=device(x))
        queries = every * 0 + 1
        for _ in range(self.restarts):
            state = PGDState(every, x, y, clean, random_start(rng, x, threat), None)
            if self.select == "best":
                state.keep(~best.fooled)
            self._search(state, model, threat, best, queries)
        return Proposal(best.x, to_numpy(queries))

    def _search(
        self, state: PGDState, model: AttackedModel, threat: ThreatModel, best: BestIterate, queries: Array
    ) -> None:
        """One restart; writes its result into `best` and the cost into `queries` (n,)."""
        gradient, loss = model.white_box(), choose("loss", self.loss, LOSSES)
        for _ in range(self.steps):
            if not state.rows.shape[0]:
                return
            queries[state.rows] += 1
            z, pullback = gradient.vjp(state.current)
            value, slope = loss(z, state.y, state.clean, model.centers)
            fooled = model.fooled(z, state.y)
            best.update(state.rows, state.current, value, fooled)
            leave = self.select == "best" and bool(fooled.any())
            if leave and bool(fooled.all()):
                return
            slope = pullback(slope)
            del pullback  # frees the tensors kept for the backward pass before the next forward pass
            self._advance(state, slope, threat)
            if leave:
                state.keep(~fooled)
        if state.rows.shape[0]:
            queries[state.rows] += 1
            z = model.runner(state.current)
            value, _ = loss(z, state.y, state.clean, model.centers)
            best.update(state.rows, state.current, value, model.fooled(z, state.y))

    def _last(
        self, model: AttackedModel, x: Array, y: Array, threat: ThreatModel, rng: np.random.Generator
    ) -> Proposal:
        """All samples for all steps, at the lowest cost."""
        gradient, loss = model.white_box(), choose("loss", self.loss, LOSSES)
        looks = int(self.loss in NEED_CLEAN)
        clean = model.runner(x) if looks else None
        state = PGDState(None, x, y, clean, random_start(rng, x, threat), None)
        for _ in range(self.steps):
            z, pullback = gradient.vjp(state.current)
            slope = pullback(loss(z, y, clean, model.centers)[1])
            del pullback  # frees the tensors kept for the backward pass before the next forward pass
            self._advance(state, slope, threat)
        return Proposal(state.current, np.full(x.shape[0], self.steps + looks, dtype=np.int64))

    def _advance(self, state: PGDState, slope: Array, threat: ThreatModel) -> None:
        """One projected step along the input's gradient, or along the velocity accumulated from it."""
        direction = ascend(slope, threat.norm)
        if self.momentum:
            state.velocity = direction if state.velocity is None else self.momentum * state.velocity + direction
            direction = ascend(state.velocity, threat.norm)
        size = threat.radius * (2.5 / max(self.steps, 1) if self.step is None else self.step)
        state.current = threat.project(state.current + size * direction, state.x)


@planned("PGD", route="first", order=10, summary="PGD-{pgd_steps}{pgd_restarts}")
def plan_first(pgd_steps: int) -> list[Attack]:
    """The first attack: run on every sample and every model. It continues after success, so that inputs transfer."""
    return [PGD(steps=pgd_steps, select="strongest")]


@planned("PGD restarts", route="gradient", order=10)
def plan_restarts(pgd_steps: int, pgd_restarts: int) -> list[Attack]:
    """Further starts for the samples that withstood the first."""
    return [PGD(steps=pgd_steps, restarts=pgd_restarts - 1)] if pgd_restarts > 1 else []


@planned("DIVA", route="difference", order=10, summary="DIVA-{difference_steps}")
def plan_difference(difference_steps: int) -> list[Attack]:
    """The difference attack: make one model wrong and keep the other right."""
    return [PGD(steps=difference_steps, loss="diva")] if difference_steps else []


@dataclass(slots=True)
class PGDState:
    """State of one restart; every array has one row per sample that is still searched."""

    rows: Array
    x: Array
    y: Array
    clean: Array
    current: Array
    velocity: Array | None

    def keep(self, mask: Array) -> None:
        """Continue with the samples where `mask` holds."""
        self.clean = own_first(self.clean, mask)
        self.rows, self.x, self.y, self.current = (a[mask] for a in (self.rows, self.x, self.y, self.current))
        if self.velocity is not None:
            self.velocity = self.velocity[mask]


@dataclass(slots=True)
class BestIterate:
    """Best iterate x (n, ...) of each sample, its loss value (n,) and whether it fools the model (n,).

    An iterate that fools the model beats one that does not; then the higher loss wins.
    """

    x: Array
    value: Array
    fooled: Array

    @classmethod
    def start(cls, x: Array, fooled: Array) -> BestIterate:
        """Start with the clean samples, some of which may already fool the model; their loss is the lowest."""
        xp = array_namespace(x)
        nothing = xp.astype(fooled, x.dtype) * 0
        return cls(xp.asarray(x, copy=True), nothing - xp.inf, xp.asarray(fooled, copy=True))

    def update(self, rows: Array, x: Array, value: Array, fooled: Array) -> None:
        """Replace the iterates of the samples `rows` (m,) by x (m, ...) where that is better."""
        value = array_namespace(value).astype(value, self.value.dtype)
        had, held = self.fooled[rows], self.value[rows]
        better = (fooled & ~had) | ((fooled == had) & (value > held))
        rows = rows[better]
        self.x[rows], self.value[rows], self.fooled[rows] = x[better], value[better], fooled[better]


def ascend(gradient: Array, norm: Norm) -> Array:
    """Unit step (n, ...) that increases the loss most: the sign for linf, the normalised gradient for l2."""
    if norm == "linf":
        # the library's own sign: the array API's version, which torch lacks, treats NaN and takes five times as long
        return array_namespace(gradient, use_compat=False).sign(gradient)
    xp = array_namespace(gradient)
    axes = tuple(range(1, gradient.ndim))
    length = xp.sqrt(xp.sum(gradient * gradient, axis=axes, keepdims=True))
    return gradient / xp.clip(length, 1e-12, None)


def random_start(rng: np.random.Generator, x: Array, threat: ThreatModel) -> Array:
    """A point in the ball around each of x (n, ...), clipped to the bounds; uniform in linf.

    In l2 direction and distance are each uniform: nearly all the volume of a ball of many dimensions lies at its
    surface, where a uniform point would leave no radius to search.
    """
    if threat.norm == "linf":
        return threat.project(x + draw_uniform(rng, x, -threat.radius, threat.radius), x)
    n = x.shape[0]
    noise = rng.standard_normal((n, math.prod(x.shape[1:])))
    noise *= threat.radius * (rng.random(n) / np.linalg.norm(noise, axis=1))[:, None]
    start = noise.reshape(tuple(x.shape)).astype(np.float32)
    return threat.project(x + array_namespace(x).asarray(start, device=device(x)), x)


def draw_uniform(rng: np.random.Generator, like: Array, low: float, high: float) -> Array:
    """Uniform noise from a numpy generator, in the library, dtype and device of `like`."""
    noise = rng.uniform(low, high, size=tuple(like.shape)).astype(np.float32)
    return array_namespace(like).asarray(noise, device=device(like))
