"""Does a sample still find its partner, the same moment as another sensor saw it, clean and under attack?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.retrieval import Recall, recall_in_blocks
from advcal_edge.verify.block import Block
from advcal_edge.verify.comparison import Comparison
from advcal_edge.verify.lineup import ENGINE, REFERENCE

DEPTH = 10  # the first place alone is so rarely right under attack that an engine could hardly lose it
SIDES = (REFERENCE, ENGINE)


@dataclass(frozen=True, slots=True, eq=False)
class Retrieval:
    """Ranks of the partners on either side: clean, and per pair the worst over everything crafted on either side."""

    attack: str
    crafted_on: Sequence[str]
    clean: Mapping[str, Recall]
    attacked: Mapping[str, Recall]

    def comparisons(self, margin: float) -> list[Comparison]:
        """Whether a sample's partner is among the first `DEPTH`; an engine may lose this as little as labels."""
        named = {f"recall@{DEPTH} clean": self.clean, f"recall@{DEPTH} attacked": self.attacked}
        return [
            Comparison(name, found[REFERENCE].forward < DEPTH, found[ENGINE].forward < DEPTH, margin, decides=True)
            for name, found in named.items()
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain types for the report."""
        return {
            "gallery": self.clean[REFERENCE].n,
            "attacks": [{"attack": self.attack, "crafted_on": side} for side in self.crafted_on],
            "clean": {side: self.clean[side].to_json() for side in SIDES},
            "attacked": {side: self.attacked[side].to_json() for side in SIDES},
        }


def measure_retrieval(
    blocks: Callable[[], Iterator[Block]], engine: str, partner: NDArray[np.float32] | None, attack: str
) -> Retrieval | None:
    """Rank the partners for clean embeddings and for everything crafted; None where there are no pairs."""
    if partner is None or len(partner) < 2:
        return None
    names = {REFERENCE: REFERENCE, engine: ENGINE}
    stored = next(blocks()).embeddings
    crafted = [side for side in names if f"{side}@{engine}" in stored]

    def found(crafted_on: str, judge: str) -> Recall:
        return recall_in_blocks(lambda: (block.embeddings[f"{crafted_on}@{judge}"] for block in blocks()), partner)

    clean = {side: found("clean", judge) for judge, side in names.items()}
    attacked = {
        side: worst([clean[side], *(found(crafted_on, judge) for crafted_on in crafted)])
        for judge, side in names.items()
    }
    return Retrieval(attack, [names[side] for side in crafted], clean, attacked)


def worst(recalls: Sequence[Recall]) -> Recall:
    """The worst rank of each pair, direction by direction."""
    forward = np.maximum.reduce([item.forward for item in recalls])
    return Recall(forward, np.maximum.reduce([item.backward for item in recalls]))
