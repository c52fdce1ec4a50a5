"""The attempts of all blocks as one report sees them: where inputs were crafted, and whom they fool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import BundleError
from advcal_edge.retrieval import Rank, share
from advcal_edge.verify.block import FIRST, Attempt, Block, Bools
from advcal_edge.verify.lineup import ENGINE, REFERENCE

ROUTES = ("transfer", "gradient", "difference", "black box", "label only")


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """One attack on all samples: the rank (n,) the true label takes on each side, 0 where it was not attacked."""

    route: str
    attack: str
    crafted_on: str
    """`reference`, `engine` or the name of a source."""
    attacked: Bools
    queries: NDArray[np.int64]
    reference: Rank
    engine: Rank

    @property
    def fools_reference(self) -> Bools:
        """Where (n,) the reference's label for the crafted input is wrong."""
        return self.reference > 0

    @property
    def fools_engine(self) -> Bools:
        """Where (n,) the engine's label for the crafted input is wrong."""
        return self.engine > 0

    def to_json(self) -> dict[str, Any]:
        """Counts: how many it met, whom it fooled, what it cost."""
        met = self.attacked
        return {
            "route": self.route,
            "attack": self.attack,
            "crafted_on": self.crafted_on,
            "attacked": int(met.sum()),
            "fools_reference": int(self.fools_reference.sum()),
            "fools_engine": int(self.fools_engine.sum()),
            "engine_among_attacked": share(~self.fools_engine[met]) if met.any() else None,
            "queries_mean": float(self.queries[met].mean()) if met.any() else 0.0,
        }


def gather(blocks: Iterable[Block], engine: str) -> list[Evidence]:
    """Everything that goes into the report of `engine`, in the order it was tried.

    Raises:
        BundleError: blocks of different runs.
    """
    columns: list[list[Attempt]] = []
    for block in blocks:
        attempts = [attempt for attempt in block.attempts if attempt.aimed_at in (None, engine)]
        columns = columns or [[attempt] for attempt in attempts]
        if [attempt.key for attempt in attempts] != [column[0].key for column in columns]:
            raise BundleError(
                f"the samples from {block.first} on were attacked otherwise than those before",
                hint="remove the folder with the state of this run and start again",
            )
        for column, attempt in zip(columns, attempts, strict=True):
            if column[0] is not attempt:
                column.append(attempt)
    return [merge(column, engine) for column in columns]


def merge(attempts: Sequence[Attempt], engine: str) -> Evidence:
    """The same attempt in all blocks as one."""
    one = attempts[0]
    own = one.crafted_on == engine
    return Evidence(
        route=("gradient" if own else "transfer") if one.route == FIRST else one.route,
        attack=one.attack,
        crafted_on=ENGINE if own else one.crafted_on,
        attacked=np.concatenate([attempt.attacked for attempt in attempts]),
        queries=np.concatenate([attempt.queries for attempt in attempts]),
        reference=np.concatenate([attempt.rank[REFERENCE] for attempt in attempts]),
        engine=np.concatenate([attempt.rank[engine] for attempt in attempts]),
    )


def broken(evidence: Sequence[Evidence], side: str, n: int) -> Bools:
    """Where (n,) anything fools this side."""
    flags = [item.fools_reference if side == REFERENCE else item.fools_engine for item in evidence]
    found: Bools = np.logical_or.reduce(flags) if flags else np.zeros(n, np.bool_)
    return found


def matrix(blocks: Sequence[Block], engine: str, others: Sequence[str]) -> dict[str, Any] | None:
    """Who is fooled by whose inputs, for the one attack that was crafted on everybody; None without any gradient.

    A cell is the share of samples that its judge gets right when clean and after the inputs of that row.
    """
    names = {REFERENCE: REFERENCE, engine: ENGINE, **{name: name for name in others}}
    rows: dict[str, dict[str, list[Bools]]] = {}
    attack = ""
    for block in blocks:
        for attempt in block.attempts:
            if attempt.route == FIRST and attempt.crafted_on in names and attempt.aimed_at in (None, engine):
                attack = attempt.attack
                row = rows.setdefault(attempt.crafted_on, {})
                for judge in names:
                    row.setdefault(judge, []).append((block.rank[judge] == 0) & (attempt.rank[judge] == 0))
    if not rows:
        return None
    cells = [[share(np.concatenate(row[judge])) for judge in names] for row in rows.values()]
    return {
        "attack": attack,
        "crafted_on": [names[name] for name in rows],
        "judged_on": list(names.values()),
        "robust": cells,
    }


def flips(
    right: Mapping[str, Bools], evidence: Sequence[Evidence], y: NDArray[np.int64], labels: Sequence[str]
) -> list[dict[str, Any]]:
    """Samples that one side loses and the other keeps, clean or at worst, and what found them."""
    n, rows = len(y), []
    held = {side: right[side] & ~broken(evidence, side, n) for side in (REFERENCE, ENGINE)}
    for comparison, flags in (("clean", right), ("worst case", held)):
        for sample in np.flatnonzero(flags[REFERENCE] != flags[ENGINE]):
            lost_on = REFERENCE if flags[ENGINE][sample] else ENGINE
            rows.append(
                {
                    "sample": int(sample),
                    "truth": labels[int(y[sample])],
                    "comparison": comparison,
                    "lost_on": lost_on,
                    "found_by": finder(evidence, lost_on, int(sample)) if right[lost_on][sample] else None,
                }
            )
    return rows


def finder(evidence: Sequence[Evidence], side: str, sample: int) -> str | None:
    """The first attack that fools `side` on one sample."""
    for item in evidence:
        if (item.fools_reference if side == REFERENCE else item.fools_engine)[sample]:
            return f"{item.route}: {item.attack}, crafted on {item.crafted_on}"
    return None
