"""Attack one system with what was found on another."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from advcal_edge.attacks.base import Attack, Proposal, Victim, to_numpy
from advcal_edge.threat import Array, ThreatModel


@dataclass(frozen=True, slots=True)
class Transfer:
    """Crafts on `surrogate` and proposes to the victim, which is asked nothing; the queries are the surrogate's.

    An attack that stops at the first success barely fools the surrogate and often nobody else: prefer
    `PGD(select="strongest")`.
    """

    surrogate: Victim = field(repr=False)
    attack: Attack

    def propose(self, victim: Victim, x: Array, y: Array, threat: ThreatModel, rng: np.random.Generator) -> Proposal:
        """Search within `threat` around x (n, ...) on the surrogate, in its own array library and place."""
        place = self.surrogate.place
        found = self.attack.propose(self.surrogate, place(to_numpy(x)), place(to_numpy(y)), threat, rng)
        return Proposal(victim.place(to_numpy(found.x)), found.queries)
