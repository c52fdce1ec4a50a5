"""Does a sample still find its partner, the same moment as another sensor saw it, clean and under attack?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import Victim
from advcal_edge.errors import InputError
from advcal_edge.progress import Progress
from advcal_edge.retrieval import Recall, gallery, recall
from advcal_edge.verify.budget import Budget
from advcal_edge.verify.comparison import Comparison
from advcal_edge.verify.evidence import Crafted, Samples, Side, craft, embed

DECIDING = 10  # the first place alone is so rarely right under attack that an engine could hardly lose it
SIDES: tuple[Side, Side] = ("reference", "engine")


@dataclass(frozen=True, slots=True, eq=False)
class Retrieval:
    """Ranks of the partners on either side: clean, and per pair the worst over everything crafted on either side."""

    crafted: Sequence[Crafted]
    clean: Mapping[Side, Recall]
    attacked: Mapping[Side, Recall]

    def comparisons(self, margin: float) -> list[Comparison]:
        """Whether a sample's partner is among the first `DECIDING`; an engine may lose this as little as labels."""
        named = {f"recall@{DECIDING} clean": self.clean, f"recall@{DECIDING} attacked": self.attacked}
        return [
            Comparison(
                name, found["reference"].forward < DECIDING, found["engine"].forward < DECIDING, margin, decides=True
            )
            for name, found in named.items()
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain types for the report."""
        return {
            "gallery": self.clean["reference"].n,
            "attacks": [{"attack": item.attack, "crafted_on": item.crafted_on} for item in self.crafted],
            "clean": {side: self.clean[side].to_json() for side in SIDES},
            "attacked": {side: self.attacked[side].to_json() for side in SIDES},
        }


def craft_mismatches(side: Side, victim: Victim, samples: Samples, budget: Budget, progress: Progress) -> list[Crafted]:
    """Inputs that are to miss their partner: classification of each sample, with the partners as centers, attacked.

    Every sample is attacked, found at once or not, since recall@5 and recall@10 count the later places too. Empty where
    there are no pairs, or no gradient to attack with.

    Raises:
        InputError: the partners are not one embedding a sample.
    """
    if samples.partner is None or len(samples) < 2 or victim.gradient is None:
        return []
    expected = (len(samples), victim.centers.dim)
    if samples.partner.shape != expected:
        raise InputError(f"partners are {samples.partner.shape}; expected {expected}, one embedding a sample")
    seeker = replace(victim, centers=gallery(samples.partner))
    pairs = replace(samples, y=np.arange(len(samples)))
    return [craft("retrieval", budget.first(), side, seeker, pairs, np.ones(len(samples), np.bool_), progress)]


def measure_retrieval(
    victims: Mapping[Side, Victim],
    clean: Mapping[Side, NDArray[np.float32]],
    samples: Samples,
    crafted: Sequence[Crafted],
) -> Retrieval | None:
    """Rank the partners for clean embeddings (n, d) and for everything `crafted`; None where there are no pairs."""
    partner = samples.partner
    if partner is None or len(samples) < 2:
        return None
    found = {side: recall(clean[side], partner) for side in SIDES}
    attacked = {
        side: worst([found[side], *(recall(embed(victims[side], item.x_adv), partner) for item in crafted)])
        for side in SIDES
    }
    return Retrieval(crafted, found, attacked)


def worst(recalls: Sequence[Recall]) -> Recall:
    """The worst rank of each pair, direction by direction."""
    forward = np.maximum.reduce([item.forward for item in recalls])
    return Recall(forward, np.maximum.reduce([item.backward for item in recalls]))
