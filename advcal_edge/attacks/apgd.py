"""Auto-PGD (Croce and Hein 2020, arXiv 2003.01690): momentum, and a step that halves where it stalls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace, device

from advcal_edge.attacks.base import Proposal, Victim, to_numpy
from advcal_edge.attacks.best import Best
from advcal_edge.attacks.climb import Climb, search
from advcal_edge.attacks.losses import LOSSES, Loss
from advcal_edge.attacks.step import random_start
from advcal_edge.registry import choose
from advcal_edge.threat import Array, ThreatModel


@dataclass(frozen=True, slots=True)
class APGD:
    """`steps` steps from a random start; a sample leaves once the victim is fooled on it, clean input included."""

    steps: int = 20
    restarts: int = 1
    loss: str = "ce"

    def propose(self, victim: Victim, x: Array, y: Array, threat: ThreatModel, rng: np.random.Generator) -> Proposal:
        """Search within `threat` around x (n, ...); needs the victim's gradient."""
        losses = [choose("loss", self.loss, LOSSES)] * self.restarts
        return climb_each(losses, self.steps, victim, x, y, threat, rng)


def climb_each(
    losses: Iterable[Loss],
    steps: int,
    victim: Victim,
    x: Array,
    y: Array,
    threat: ThreatModel,
    rng: np.random.Generator,
) -> Proposal:
    """Auto-PGD once with each loss, each run from a start of its own and on those who withstood the runs before."""
    xp = array_namespace(x)
    clean = victim.runner(x)
    best = Best.start(x, victim.fooled(clean, y))
    every = xp.arange(x.shape[0], device=device(x))
    queries = every * 0 + 1
    for loss in losses:
        if bool(best.fooled.all()):
            break
        climb = Climb.start(every, x, y, clean, random_start(rng, x, threat), threat)
        climb.keep(~best.fooled)
        search(climb, victim, loss, steps, threat, best, queries)
    return Proposal(best.x, to_numpy(queries))
