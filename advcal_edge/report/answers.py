"""`measured.answers`: how sure the engine was of right and wrong answers, clean and under attack, sample by sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.report.implied import KNOWN, BudgetNumbers, attack_settings, cost_of
from advcal_edge.report.results import AttackResult, Drift
from advcal_edge.report.selective import Margins, Rule
from advcal_edge.report.value import Value
from advcal_edge.retrieval import Rank

Floats = NDArray[np.float64]
Contradiction = tuple[Value, str]
LARGEST = 2.001  # the difference of two cosines, rounded
ROUNDING = 1e-5  # embeddings in float32, in batches of other sizes


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Decision margins (n,) of the engine's answers, in units of cosine, and the attacks that aimed at the rule."""

    alpha: float
    attacks: Mapping[str, int]
    """Queries of each attack on the rule, all samples together."""
    clean: Floats
    """Of the answers to clean inputs."""
    wrong: Floats
    """Largest of a wrong answer to the clean input or one of the comparison; minus infinity without one."""
    aimed: Floats
    """The same of inputs crafted against the rule."""
    least: Floats
    """Smallest of any answer."""

    def rule(self, rank: Rank) -> Rule:
        """The rule that these answers support; `rank` (n,) are those of the true labels on clean inputs."""
        nothing = np.full(len(rank), -np.inf)
        unharmed = Margins(np.where(rank > 0, self.clean, nothing), self.clean)
        attacked = Margins(np.maximum(self.wrong, self.aimed), self.least)
        return Rule.of(unharmed, attacked, Margins(self.wrong, self.least), self.alpha)

    def to_json(self) -> dict[str, Any]:
        """Plain types for `measured.answers`."""
        return {
            "alpha": self.alpha,
            "attacks": [{"attack": name, "queries": queries} for name, queries in self.attacks.items()],
            "clean": self.clean.tolist(),
            "wrong": [None if value == -np.inf else value for value in self.wrong.tolist()],
            "aimed": [None if value == -np.inf else value for value in self.aimed.tolist()],
            "least": self.least.tolist(),
        }

    @classmethod
    def read(cls, value: Value, n: int) -> Answers:
        """Read what `to_json` wrote."""
        value.only("alpha", "attacks", "clean", "wrong", "aimed", "least")
        alpha, attacks = value["alpha"].number(), {}
        if not 0 < alpha < 1:
            raise value["alpha"].expected("a number between 0 and 1")
        for item in value["attacks"].items():
            item.only("attack", "queries")
            if item["attack"].text() in attacks:
                raise item["attack"].expected("each attack once")
            attacks[item["attack"].text()] = item["queries"].integer()
        clean, least = (read_margins(value[name], n) for name in ("clean", "least"))
        wrong, aimed = (read_margins(value[name], n, may_lack=True) for name in ("wrong", "aimed"))
        return cls(alpha, attacks, clean, wrong, aimed, least)


def read_margins(value: Value, n: int, *, may_lack: bool = False) -> Floats:
    """Read margins (n,); null, where allowed, is minus infinity."""
    found = value.lengthy(n)
    margins = np.empty(n)
    for k, number in enumerate(found):
        if number is None and may_lack:
            margins[k] = -np.inf
            continue
        margins[k] = number if type(number) is float else Value(number, f"{value.path}[{k}]").number()
        if not 0 <= margins[k] <= LARGEST:
            raise Value(number, f"{value.path}[{k}]").expected("a margin from 0 to 2" + ", or null" * may_lack)
    return margins


def answers_contradictions(
    document: Value,
    answers: Answers,
    attacks: Sequence[AttackResult],
    rank: Rank,
    drift: Drift,
    implied: BudgetNumbers,
) -> Iterator[Contradiction]:
    """Find margins that disagree with each other, with the labels or with the drift, and attacks that were not run.

    `rank` (n,) are the ranks of the true labels on clean inputs of the engine.
    """
    value = document["answers"]
    fooled = np.logical_or.reduce([rank > 0, *(item.fools("engine") for item in attacks)])
    for name, wanted, where in (
        (
            "wrong",
            "a margin where the engine is wrong, and null where it never is",
            fooled != np.isfinite(answers.wrong),
        ),
        (
            "wrong",
            "at least the clean margin, where that answer is wrong",
            (rank > 0) & (answers.wrong < answers.clean),
        ),
        ("least", "at most the clean margin", answers.least > answers.clean),
        ("least", "at most the margin of a wrong answer", np.isfinite(answers.wrong) & (answers.least > answers.wrong)),
        (
            "least",
            "at most the margin of an aimed answer",
            np.isfinite(answers.aimed) & (answers.least > answers.aimed),
        ),
        ("clean", "a margin that the drift allows", np.abs(answers.clean - drift.margin) > 2 * drift.change + ROUNDING),
    ):
        if where.any():
            yield value[name].items()[int(where.argmax())], wanted
    yield from other_attacks(
        value["attacks"], len(rank), implied, seeing=document["engine"]["gradient"].value is not None
    )


def other_attacks(value: Value, n: int, implied: BudgetNumbers, *, seeing: bool) -> Iterator[Contradiction]:
    """Compare the attacks on the rule with those of the budget, and their queries with what n samples cost.

    They go on to the end on every sample. Attacks that somebody registered may come on top.
    """
    wanted = [*(implied.attacks("abstention") if seeing else ()), *implied.attacks("abstention by scores")]
    found = [item["attack"].text() for item in value.items()]
    known = [name for name in found if attack_settings(name)[0] in KNOWN]
    if known != wanted:
        yield value, f"the attacks on the rule that the budget implies, {', '.join(wanted) or 'none'}"
    for item, name in zip(value.items(), found, strict=True):
        cost = cost_of(name)
        if cost is not None and item["queries"].integer() != n * cost.most:
            yield item["queries"], f"{n * cost.most}, which {n} samples cost"
