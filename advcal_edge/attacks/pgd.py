"""Projected gradient descent (Madry et al. 2018, arXiv 1706.06083): restarts, momentum and the best iterate kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from array_api_compat import array_namespace

from advcal_edge.attacks.base import Proposal, Victim, draw_uniform
from advcal_edge.attacks.best import Best
from advcal_edge.attacks.losses import LOSSES
from advcal_edge.attacks.step import ascend
from advcal_edge.registry import choose
from advcal_edge.threat import Array, ThreatModel


@dataclass(frozen=True, slots=True)
class PGD:
    """`steps` steps of `step` (a fraction of eps; 2.5 / steps where left out) from a random start in the ball.

    `select="best"` returns for each sample the iterate that fools the victim with the highest loss, at the price of one
    more forward pass; `"last"` returns the last one, as adversarial training does.
    """

    steps: int = 10
    step: float | None = None
    restarts: int = 1
    momentum: float = 0.0
    loss: str = "ce"
    select: Literal["best", "last"] = "best"

    def propose(self, victim: Victim, x: Array, y: Array, threat: ThreatModel, rng: np.random.Generator) -> Proposal:
        """Search within `threat` around x (n, ...); needs the victim's gradient."""
        xp = array_namespace(x)
        gradient, loss = victim.white_box(), choose("loss", self.loss, LOSSES)
        size = threat.radius * (2.5 / max(self.steps, 1) if self.step is None else self.step)
        clean = victim.runner(x)
        best = Best.start(x, xp)
        current = x
        for _ in range(self.restarts):
            current = threat.project(x + draw_uniform(rng, x, -threat.radius, threat.radius), x)
            velocity = xp.zeros_like(x)
            for _ in range(self.steps):
                z, pullback = gradient.vjp(current)
                value, slope = loss(z, y, clean, victim.centers)
                if self.select == "best":
                    best.update(current, value, victim.fooled(z, y))
                direction = ascend(pullback(slope), threat.norm)
                velocity = self.momentum * velocity + direction if self.momentum else direction
                current = threat.project(current + size * ascend(velocity, threat.norm), x)
            if self.select == "best":
                z = victim.runner(current)
                best.update(current, loss(z, y, clean, victim.centers)[0], victim.fooled(z, y))
        queries = np.full(x.shape[0], 1 + self.restarts * (self.steps + (self.select == "best")), dtype=np.int64)
        return Proposal(best.x if self.select == "best" else current, queries)
