"""Auto-PGD toward one wrong class after the other, as in AutoAttack (Croce and Hein 2020, arXiv 2003.01690)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from advcal_edge.attacks.apgd import climb_each
from advcal_edge.attacks.base import Proposal, Victim
from advcal_edge.attacks.targeted_losses import TARGETED_LOSSES
from advcal_edge.registry import choose
from advcal_edge.threat import Array, ThreatModel


@dataclass(frozen=True, slots=True)
class TargetedAPGD:
    """`steps` steps toward each of the `targets` best wrong classes of the clean embedding, or as many as there are.

    Any wrong label wins, not the target alone. `loss="dlr"` needs four classes, `"margin"` two.
    """

    steps: int = 20
    targets: int = 9
    loss: Literal["dlr", "margin"] = "dlr"
    restarts: int = 1

    def propose(self, victim: Victim, x: Array, y: Array, threat: ThreatModel, rng: np.random.Generator) -> Proposal:
        """Search within `threat` around x (n, ...); needs the victim's gradient."""
        toward = choose("targeted loss", self.loss, TARGETED_LOSSES)
        ranks = range(1, min(self.targets, len(victim.centers.labels) - 1) + 1)
        losses = [toward(rank) for _ in range(self.restarts) for rank in ranks]
        return climb_each(losses, self.steps, victim, x, y, threat, rng)
