"""The rule by which an engine may abstain: which decision margin is enough, and how often an accepted answer is wrong.

Selective classification (El-Yaniv and Wiener 2010, JMLR 11:1605-1641; Geifman and El-Yaniv 2017, arXiv 1705.08500): an
answer is accepted where its margin lies above a threshold. Coverage is the share that is accepted, risk the share of
wrong answers among those. The threshold is chosen on one half of the samples and the risk is bounded on the other, so
that the bound of Clopper and Pearson holds for the threshold that was chosen.

Under attack the adversary picks one input per sample, the clean one or any that was crafted. It picks what is worst for
the risk: an answer that is wrong and accepted where there is one, else one that is rejected, and a right and accepted
one only where it found nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.stats import binomial_tail, upper_bound

ALPHA = 0.05
"""Default for the largest share of wrong answers among those that are accepted."""
CONFIDENCE = 0.95
"""Confidence of the bound."""
CAUTION = 0.99
"""Confidence with which the choosing half alone must show `alpha`; less, and the bounding half would often disagree."""
POINTS = 25
"""Thresholds of the curve, at quantiles of the clean margins."""

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Margins:
    """Per sample (n,) the margins that an adversary can choose among."""

    wrong: Floats
    """Largest margin of a wrong answer; minus infinity if there is none."""
    least: Floats
    """Smallest margin of any answer."""

    def at(self, rows: Flags) -> Margins:
        """Those of the samples at `rows` (n,)."""
        return Margins(self.wrong[rows], self.least[rows])

    def accepted(self, threshold: float) -> Accepted:
        """What a threshold accepts if the adversary does its worst."""
        wrong = self.wrong > threshold
        right = ~wrong & (self.least > threshold)
        return Accepted(len(wrong), int(wrong.sum() + right.sum()), int(wrong.sum()))


@dataclass(frozen=True, slots=True)
class Accepted:
    """Of n answers those that are accepted, and the wrong ones among these."""

    n: int
    accepted: int
    wrong: int

    @property
    def coverage(self) -> float:
        """Share that is accepted."""
        return self.accepted / self.n if self.n else 0.0

    @property
    def risk(self) -> float | None:
        """Share of wrong answers among those that are accepted; None if none is."""
        return self.wrong / self.accepted if self.accepted else None

    @property
    def bound(self) -> float:
        """One-sided upper bound of the risk."""
        return upper_bound(self.wrong, self.accepted, CONFIDENCE)

    def doubt(self, alpha: float) -> float:
        """Probability of so few wrong ones at a risk of `alpha`; up to 1 - c the bound at c is at most alpha."""
        return 1.0 - binomial_tail(self.wrong + 1, self.accepted, alpha)

    def to_json(self) -> dict[str, Any]:
        """Plain types for the report."""
        counts = {"n": self.n, "accepted": self.accepted, "wrong": self.wrong}
        return {**counts, "coverage": self.coverage, "risk": self.risk, "bound": self.bound}


@dataclass(frozen=True, slots=True)
class Point:
    """One threshold of the curve."""

    threshold: float
    clean: Accepted
    attacked: Accepted

    def to_json(self) -> dict[str, Any]:
        """Plain types for the report."""
        both = {"clean": self.clean, "attacked": self.attacked}
        return {
            "threshold": self.threshold,
            **{name: {"coverage": found.coverage, "risk": found.risk} for name, found in both.items()},
        }


@dataclass(frozen=True, slots=True)
class Rule:
    """The threshold that was chosen on one half, and what it does on the other."""

    alpha: float
    threshold: float
    """The threshold that was chosen; it is the rule only where it `holds`."""
    choosing: int
    """Samples on which it was chosen."""
    clean: Accepted
    attacked: Accepted
    unaimed: Accepted
    """Under the attacks of the comparison alone, which aim at wrong answers and not at sure ones."""
    steady: float
    """Share of samples on which no input, clean or crafted, gets the answer rejected."""
    curve: Sequence[Point]

    @classmethod
    def of(cls, clean: Margins, attacked: Margins, unaimed: Margins, alpha: float) -> Rule:
        """Choose a threshold on the choosing half of n samples and measure it on the other."""
        chosen_on = choosing_half(len(clean.least))
        threshold = choose(attacked.at(chosen_on), alpha)
        rest = [margins.at(~chosen_on) for margins in (clean, attacked, unaimed)]
        on_clean, on_attacked, on_unaimed = (margins.accepted(threshold) for margins in rest)
        curve = [Point(at, rest[0].accepted(at), rest[1].accepted(at)) for at in thresholds(rest[0].least, threshold)]
        steady = float((rest[1].least > threshold).mean()) if len(rest[1].least) else 0.0
        return cls(alpha, threshold, int(chosen_on.sum()), on_clean, on_attacked, on_unaimed, steady, curve)

    @property
    def holds(self) -> bool:
        """Is the share of wrong answers under attack bounded by `alpha`?"""
        return self.attacked.bound <= self.alpha

    def to_json(self) -> dict[str, Any]:
        """Plain types for the report."""
        return {
            "alpha": self.alpha,
            "confidence": CONFIDENCE,
            "threshold": self.threshold if self.holds else None,
            "tried": self.threshold,
            "choosing": self.choosing,
            "clean": self.clean.to_json(),
            "attacked": self.attacked.to_json(),
            "unaimed": self.unaimed.to_json(),
            "steady": self.steady,
            "curve": [point.to_json() for point in self.curve],
        }


def choosing_half(n: int) -> Flags:
    """Where (n,) samples serve for choosing: one of every two neighbours, drawn by a hash of their position.

    The draw of a sample depends on nothing else, so nobody can try other draws; and a hash, unlike a random generator,
    is the same in every version.
    """
    first = [hashlib.sha256(f"abstention {pair}".encode()).digest()[0] % 2 == 0 for pair in range((n + 1) // 2)]
    flags: Flags = np.array([[one, not one] for one in first], np.bool_).reshape(-1)[:n]
    return flags


def choose(margins: Margins, alpha: float) -> float:
    """The smallest threshold that keeps the risk of these samples below `alpha` with some caution.

    Where none does, that with the best evidence. A larger threshold never accepts more, and only at the margin of a
    wrong answer does it accept fewer of those, so no others are tried.
    """
    wrong = margins.wrong[margins.wrong > 0]
    best, least = 0.0, float("inf")
    for threshold in (0.0, *np.unique(wrong).tolist()):
        doubt = margins.accepted(threshold).doubt(alpha)
        if doubt <= 1 - CAUTION:
            return float(threshold)
        if doubt < least:
            best, least = float(threshold), doubt
    return best


def thresholds(margins: Floats, chosen: float) -> Iterator[float]:
    """Thresholds of the curve, ascending: none, quantiles of the margins (n,) and the one that was chosen."""
    ordered = np.sort(margins)
    places = [len(ordered) * k // POINTS for k in range(1, POINTS)] if len(ordered) else []
    yield from sorted({0.0, chosen, *(float(ordered[place]) for place in places)})
