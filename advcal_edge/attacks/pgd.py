"""Projected gradient descent (Madry et al. 2018, arXiv 1706.06083): restarts, momentum, survivors only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from array_api_compat import array_namespace, device

from advcal_edge.attacks.base import Proposal, Victim, to_numpy
from advcal_edge.attacks.best import Best
from advcal_edge.attacks.losses import LOSSES, NEED_CLEAN, own_first
from advcal_edge.attacks.step import ascend, random_start
from advcal_edge.errors import ConfigError
from advcal_edge.registry import choose
from advcal_edge.threat import Array, ThreatModel


@dataclass(frozen=True, slots=True)
class PGD:
    """`steps` steps of `step` (a fraction of eps; 2.5 / steps where left out) from a random start in the ball.

    With `select="best"` a sample leaves as soon as the victim is fooled on it, be it by the clean input; those that
    withstand get their iterate of highest loss. With `"strongest"` none leaves and each gets the iterate that fools
    with the highest loss: for inputs that are to work on another victim too, or to cost more than the first place. With
    `"last"` nothing is looked at and each gets the last iterate, as adversarial training does.
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

    def propose(self, victim: Victim, x: Array, y: Array, threat: ThreatModel, rng: np.random.Generator) -> Proposal:
        """Search within `threat` around x (n, ...); needs the victim's gradient."""
        xp = array_namespace(x)
        if self.select == "last":
            return self._last(victim, x, y, threat, rng)
        clean = victim.runner(x)
        best = Best.start(x, victim.fooled(clean, y))
        every = xp.arange(x.shape[0], device=device(x))
        queries = every * 0 + 1
        for _ in range(self.restarts):
            walk = Walk(every, x, y, clean, random_start(rng, x, threat), None)
            if self.select == "best":
                walk.keep(~best.fooled)
            self._search(walk, victim, threat, best, queries)
        return Proposal(best.x, to_numpy(queries))

    def _search(self, walk: Walk, victim: Victim, threat: ThreatModel, best: Best, queries: Array) -> None:
        """One restart; writes what it found into `best` and what it cost into `queries` (n,)."""
        gradient, loss = victim.white_box(), choose("loss", self.loss, LOSSES)
        for _ in range(self.steps):
            if not walk.rows.shape[0]:
                return
            queries[walk.rows] += 1
            z, pullback = gradient.vjp(walk.current)
            value, slope = loss(z, walk.y, walk.clean, victim.centers)
            fooled = victim.fooled(z, walk.y)
            best.update(walk.rows, walk.current, value, fooled)
            leave = self.select == "best" and bool(fooled.any())
            if leave and bool(fooled.all()):
                return
            slope = pullback(slope)
            del pullback  # and with it what the backward pass had kept, before the next forward pass needs room
            self._advance(walk, slope, threat)
            if leave:
                walk.keep(~fooled)
        if walk.rows.shape[0]:
            queries[walk.rows] += 1
            z = victim.runner(walk.current)
            value, _ = loss(z, walk.y, walk.clean, victim.centers)
            best.update(walk.rows, walk.current, value, victim.fooled(z, walk.y))

    def _last(self, victim: Victim, x: Array, y: Array, threat: ThreatModel, rng: np.random.Generator) -> Proposal:
        """All samples for all steps, as cheaply as can be."""
        gradient, loss = victim.white_box(), choose("loss", self.loss, LOSSES)
        looks = int(self.loss in NEED_CLEAN)
        clean = victim.runner(x) if looks else None
        walk = Walk(None, x, y, clean, random_start(rng, x, threat), None)
        for _ in range(self.steps):
            z, pullback = gradient.vjp(walk.current)
            slope = pullback(loss(z, y, clean, victim.centers)[1])
            del pullback  # and with it what the backward pass had kept, before the next forward pass needs room
            self._advance(walk, slope, threat)
        return Proposal(walk.current, np.full(x.shape[0], self.steps + looks, dtype=np.int64))

    def _advance(self, walk: Walk, slope: Array, threat: ThreatModel) -> None:
        """One projected step along the input's gradient, or along the velocity that it adds to."""
        direction = ascend(slope, threat.norm)
        if self.momentum:
            walk.velocity = direction if walk.velocity is None else self.momentum * walk.velocity + direction
            direction = ascend(walk.velocity, threat.norm)
        size = threat.radius * (2.5 / max(self.steps, 1) if self.step is None else self.step)
        walk.current = threat.project(walk.current + size * direction, walk.x)


@dataclass(slots=True)
class Walk:
    """State of one restart; every array has one row a sample that is still searched."""

    rows: Array
    x: Array
    y: Array
    clean: Array
    current: Array
    velocity: Array | None

    def keep(self, mask: Array) -> None:
        """Go on with the samples where `mask` holds."""
        self.clean = own_first(self.clean, mask)
        self.rows, self.x, self.y, self.current = (a[mask] for a in (self.rows, self.x, self.y, self.current))
        if self.velocity is not None:
            self.velocity = self.velocity[mask]
