"""A paired test of the drop that may be looked at, stopped and extended at any time: betting against a drop.

Each sample gives d = right on the reference - right on the engine, one of -1, 0 and 1. Whoever bets a share `theta` of
what is allowed against a drop of at least `drop` multiplies the capital by 1 + lambda (drop - d) with every sample,
with lambda = theta / (1 - drop). If the drop is `drop` or more, no bet gains on average, so the capital, and that of a
mixture of bets fixed beforehand, is a supermartingale that starts at 1. The probability that it ever reaches 1 / level
is at most `level` (Ville 1939), however often one looks and whenever one stops.

Waudby-Smith and Ramdas 2024, Journal of the Royal Statistical Society B 86:1-27 (arXiv 2010.09686): tests of the mean
of a bounded variable by betting, here with a mixture of constant bets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from advcal_edge.stats import LEVEL, Interval, bisect

LOOK = 16
"""Samples from one look to the next."""
BETS = (np.arange(100) + 0.5) / 100
"""Shares of the largest bet in the mixture, all with the same weight: no rate of flips is favoured."""
EDGE = 1 - 1e-9  # drops beyond it are not looked for: the largest bet would be infinite at a drop of 1
FARTHEST = 10_000_000  # samples; a number beyond it is no advice

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
Decision = Literal["pass", "fail", "inconclusive"]


def log_capital(lost: Counts, gained: Counts, n: Counts, drop: float) -> Floats:
    """Decimal logarithm of the capital (looks,) against a drop of at least `drop`, after `n` samples each.

    The engine alone is wrong on `lost` of them, and the reference alone on `gained`. The capital against a drop of at
    most `drop` is that of the mirrored counts: `log_capital(gained, lost, n, -drop)`.
    """
    agreed, gain = drop / (1 - drop), (1 + drop) / (1 - drop)
    logarithm = (
        np.multiply.outer(lost, np.log1p(-BETS))
        + np.multiply.outer(n - lost - gained, np.log1p(BETS * agreed))
        + np.multiply.outer(gained, np.log1p(BETS * gain))
    )
    largest = logarithm.max(axis=1)
    mixed = largest + np.log(np.exp(logarithm - largest[:, None]).mean(axis=1))
    capital: Floats = mixed / np.log(10)
    return capital


def looks(n: int, after: int = 0) -> Counts:
    """Numbers of samples at which to look: every `LOOK`, and all `n`; only those beyond `after`."""
    every = np.arange((after // LOOK + 1) * LOOK, n + 1, LOOK)
    return every if n % LOOK == 0 else np.append(every, n)


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """What the looks (looks,) at one comparison saw: flips so far, and both capitals as decimal logarithms."""

    n: Counts
    lost: Counts
    gained: Counts
    margin: float
    level: float
    passing: Floats
    """Evidence against a drop of at least the margin."""
    failing: Floats
    """Evidence against a drop of at most the margin."""

    @classmethod
    def of(cls, reference: NDArray[np.bool_], engine: NDArray[np.bool_], margin: float, level: float = LEVEL) -> Path:
        """Look at which samples (n,) both sides get right, in the order in which they were drawn."""
        n = looks(len(reference))
        lost, gained = (np.cumsum(flips, dtype=np.int64)[n - 1] for flips in (reference & ~engine, engine & ~reference))
        return cls(
            n, lost, gained, margin, level, log_capital(lost, gained, n, margin), log_capital(gained, lost, n, -margin)
        )

    @property
    def verdict(self) -> Decision:
        """Pass or fail by the capital that ever reached 1 / level; inconclusive if neither did, or both."""
        return verdict(self.passing.max(), self.failing.max(), self.level)

    @property
    def decided(self) -> int | None:
        """Number of samples at the first look that decided; None if it is open."""
        if self.verdict == "inconclusive":
            return None
        evidence = self.passing if self.verdict == "pass" else self.failing
        return int(self.n[np.argmax(evidence >= threshold(self.level))])

    @property
    def interval(self) -> Interval:
        """Drops that no look has excluded, a confidence sequence at 1 - 2 `level`; below the margin for a pass.

        Two ends that have crossed (a chance of at most 2 `level`) are exchanged, so that it is never empty.
        """
        enough = threshold(self.level)

        def excess(lost: Counts, gained: Counts, drop: float) -> float:
            return float(log_capital(lost, gained, self.n, drop).max()) - enough

        high = bisect(lambda drop: excess(self.lost, self.gained, drop), EDGE, -EDGE)
        low = -bisect(lambda rise: excess(self.gained, self.lost, rise), EDGE, -EDGE)
        return Interval(min(low, high), max(low, high))

    @property
    def samples_to_decide(self) -> int | None:
        """Number of samples that would decide if flips went on at the rates seen; None if decided or out of reach."""
        if self.verdict != "inconclusive":
            return None
        total = int(self.n[-1])

        def decides(n: int) -> bool:
            lost, gained = (np.array([flips[-1] * n / total]) for flips in (self.lost, self.gained))
            count = np.array([n])
            best = max(log_capital(lost, gained, count, self.margin), log_capital(gained, lost, count, -self.margin))
            return float(best[0]) >= threshold(self.level)

        above = total
        while not decides(above):
            above *= 2
            if above > FARTHEST:
                return None
        below = above // 2
        while above - below > 1:
            middle = (below + above) // 2
            below, above = (below, middle) if decides(middle) else (middle, above)
        return above if above > total else None

    def to_json(self) -> dict[str, Any]:
        """Plain types for the report."""
        return {
            "verdict": self.verdict,
            "decided": self.decided,
            "n": self.n.tolist(),
            "lost": self.lost.tolist(),
            "gained": self.gained.tolist(),
            "passing": self.passing.tolist(),
            "failing": self.failing.tolist(),
        }


@dataclass(slots=True)
class Tally:
    """A comparison while it runs: flips so far, and the most that each capital has ever been."""

    margin: float
    level: float = LEVEL
    n: int = 0
    lost: int = 0
    gained: int = 0
    passing: float = 0.0
    failing: float = 0.0

    def add(self, reference: NDArray[np.bool_], engine: NDArray[np.bool_]) -> None:
        """Count the next samples (m,), and look where `Path` would look."""
        at = looks(self.n + len(reference), self.n)
        rows = at - self.n - 1
        lost = self.lost + np.cumsum(reference & ~engine)
        gained = self.gained + np.cumsum(engine & ~reference)
        self.n, self.lost, self.gained = self.n + len(reference), int(lost[-1]), int(gained[-1])
        self.passing = max(self.passing, float(log_capital(lost[rows], gained[rows], at, self.margin).max()))
        self.failing = max(self.failing, float(log_capital(gained[rows], lost[rows], at, -self.margin).max()))

    @property
    def verdict(self) -> Decision:
        """The verdict that `Path` would give."""
        return verdict(self.passing, self.failing, self.level)


def verdict(passing: float, failing: float, level: float = LEVEL) -> Decision:
    """The decision after the largest capitals, as decimal logarithms; each errs with probability `level` at most."""
    passes, fails = (evidence >= threshold(level) for evidence in (passing, failing))
    if passes == fails:
        return "inconclusive"
    return "pass" if passes else "fail"


def threshold(level: float) -> float:
    """Decimal logarithm of the capital that decides."""
    return float(-np.log10(level))


def last_decided(paths: Sequence[Path]) -> int | None:
    """Number of samples at which the verdict over all comparisons was clear: the first fail, or the last pass."""
    failed = [path.decided for path in paths if path.verdict == "fail" and path.decided is not None]
    if failed:
        return min(failed)
    decided = [path.decided for path in paths]
    return None if None in decided else max((n for n in decided if n is not None), default=None)
