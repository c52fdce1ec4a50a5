"""How sure an engine was of its answers to a block: margins of right and wrong ones, clean, attacked, and aimed at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.report.answers import LARGEST
from advcal_edge.verify.block import Block, Bools

Floats = NDArray[np.float64]
NONE = -np.inf
"""The largest margin of a wrong answer where there is none."""


@dataclass(slots=True, eq=False)
class Answers:
    """Decision margins (n,) of one engine, in units of cosine; inputs are added as they are judged."""

    clean: Floats
    wrong: Floats
    """Largest of a wrong answer to the clean input or one of the comparison; minus infinity without one."""
    least: Floats
    """Smallest of any answer."""
    aimed: Floats
    """Largest of a wrong answer to an input crafted against the rule."""
    queries: dict[str, int] = field(default_factory=dict)
    """Of each attack on the rule, over all samples."""

    @classmethod
    def before(cls, margins: Floats, wrong: Bools) -> Answers:
        """Answers to clean inputs with these margins (n,), some of them wrong."""
        nothing = np.full(len(margins), NONE)
        return cls(margins, np.where(wrong, margins, NONE), margins.copy(), nothing)

    def see(self, rows: Bools, margins: Floats, wrong: Bools) -> None:
        """Add the answers to one input of each sample at `rows` (n,); of margins and wrong (n,) only those count."""
        self.wrong = np.where(rows & wrong, np.maximum(self.wrong, margins), self.wrong)
        self.least = np.where(rows, np.minimum(self.least, margins), self.least)

    def aim(self, attack: str, queries: int, margins: Floats, wrong: Bools) -> None:
        """Add the answers to one input of every sample, crafted by an attack on the rule."""
        self.queries[attack] = queries
        self.aimed = np.where(wrong, np.maximum(self.aimed, margins), self.aimed)
        self.least = np.minimum(self.least, margins)

    def stacked(self) -> Floats:
        """All margins as (4, n)."""
        return np.stack([self.clean, self.wrong, self.least, self.aimed])


def joined(blocks: Sequence[Block], engine: str, alpha: float) -> dict[str, Any] | None:
    """`measured.answers` of an engine over all blocks; None if these did not ask how sure it was."""
    from advcal_edge.report.answers import Answers as Measured

    if not all(engine in block.answers for block in blocks):
        return None
    clean, wrong, least, aimed = np.concatenate([block.answers[engine].margins for block in blocks], axis=1)
    queries: dict[str, int] = {}
    for block in blocks:
        for name, count in block.answers[engine].queries.items():
            queries[name] = queries.get(name, 0) + count
    return Measured(alpha, queries, clean, wrong, aimed, least).to_json()


def odd_answers(block: Block, engine: str, attacks: Sequence[str]) -> Iterator[str]:
    """Describe what no run with these attacks on the rule can have written about the answers of an engine."""
    kept = block.answers[engine]
    clean, wrong, least, aimed = kept.margins
    if list(kept.queries) != list(attacks):
        yield f"has other attacks on the rule of {engine} than {', '.join(attacks) or 'none'}"
    fooled = block.fooled(engine) | (block.rank[engine] > 0)
    inside = (np.isfinite([clean, least]) & (np.array([clean, least]) >= 0)).all() and (kept.margins <= LARGEST).all()
    if not inside or ((wrong < 0) & (wrong != NONE)).any() or ((aimed < 0) & (aimed != NONE)).any():
        yield f"has margins of {engine} that no embeddings have"
    if (fooled != np.isfinite(wrong)).any():
        yield f"has margins of wrong answers of {engine} for other samples than those that fool it"
    if (least > np.minimum(clean, np.where(np.isfinite(wrong), wrong, clean))).any():
        yield f"has a smallest margin of {engine} that is not the smallest"
