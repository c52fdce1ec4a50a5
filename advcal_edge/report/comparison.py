"""Compare reference and engine on the same samples: intervals that decide, and the verdict over all comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from advcal_edge.report.checks import Check
from advcal_edge.retrieval import share
from advcal_edge.sequential import Path
from advcal_edge.stats import LEVEL, Interval, mcnemar, newcombe, samples_to_decide, tango

Verdict = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Per sample: right on the reference, right on the engine. The drop is their paired difference."""

    name: str
    reference: NDArray[np.bool_]
    engine: NDArray[np.bool_]
    margin: float
    decides: bool  # does the verdict depend on it?
    level: float = LEVEL
    """Largest probability of a false pass, and of a false fail."""
    path: Path | None = None
    """The looks of a sequential test; None for a fixed number of samples."""

    @property
    def only_reference(self) -> int:
        """Number of samples that only the reference gets right."""
        return int((self.reference & ~self.engine).sum())

    @property
    def only_engine(self) -> int:
        """Number of samples that only the engine gets right."""
        return int((~self.reference & self.engine).sum())

    @property
    def drop(self) -> float:
        """Accuracy of the reference minus accuracy of the engine."""
        return (self.only_reference - self.only_engine) / len(self.reference)

    @property
    def interval(self) -> Interval:
        """Interval of the drop at 1 - 2 `level`: score interval, or confidence sequence of a sequential test."""
        if self.path is not None:
            return self.path.interval
        return tango(self.only_reference, self.only_engine, len(self.reference), 1 - 2 * self.level)

    @property
    def verdict(self) -> Verdict:
        """Pass if the whole interval lies below the margin, fail if it lies above, else inconclusive."""
        if self.path is not None:
            return self.path.verdict
        if self.interval.high < self.margin:
            return "pass"
        return "fail" if self.interval.low > self.margin else "inconclusive"

    @property
    def samples_to_decide(self) -> int | None:
        """Number of samples that would decide at these rates; None if it is decided or no number would suffice."""
        if self.path is not None:
            return self.path.samples_to_decide
        if self.verdict != "inconclusive":
            return None
        flips, n, confidence = (self.only_reference, self.only_engine), len(self.reference), 1 - 2 * self.level
        return samples_to_decide(*flips, n, self.margin, confidence)

    def to_json(self) -> dict[str, Any]:
        """Plain types for the report."""
        n, both = len(self.reference), int((self.reference & self.engine).sum())
        flips = self.only_reference, self.only_engine
        return {
            "name": self.name,
            "n": n,
            "reference": share(self.reference),
            "engine": share(self.engine),
            "only_reference": self.only_reference,
            "only_engine": self.only_engine,
            "drop": self.drop,
            "interval": self.interval.to_json(),
            "newcombe": newcombe(*flips, both, n).to_json(),
            "mcnemar": mcnemar(*flips),
            "margin": self.margin,
            "verdict": self.verdict,
            "decides": self.decides,
            "samples_to_decide": self.samples_to_decide,
        }


def decide(
    comparisons: Sequence[Comparison],
    checks: Sequence[Check],
    doubts: Sequence[str] = (),
    failures: Sequence[str] = (),
) -> tuple[Verdict, list[str]]:
    """Decide pass, fail or inconclusive, with reasons: fail if anything required failed, inconclusive if anything is
    open, else pass.

    `doubts` are further reasons for an inconclusive verdict, `failures` for a failed one.
    """
    failed = [
        f"check {c.name}: {number_text(c.measured)}, limit {c.limit} ({c.why})"
        for c in checks
        if c.required and c.status == "fail"
    ]
    failed += [
        f"{c.name} fell {100 * c.drop:.1f} points [{100 * c.interval.low:.1f}, {100 * c.interval.high:.1f}], "
        f"allowed {100 * c.margin:g}"
        for c in comparisons
        if c.decides and c.verdict == "fail"
    ]
    failed += failures
    if failed:
        return "fail", failed
    open_ = list(skipped(checks))
    open_ += [
        f"{c.name} drop {100 * c.drop:.1f} points [{100 * c.interval.low:.1f}, {100 * c.interval.high:.1f}] straddles "
        f"{100 * c.margin:g}" + (f"; about {c.samples_to_decide} samples would decide" if c.samples_to_decide else "")
        for c in comparisons
        if c.decides and c.verdict == "inconclusive"
    ]
    open_ += doubts
    return ("inconclusive", open_) if open_ else ("pass", [])


def skipped(checks: Sequence[Check]) -> Iterator[str]:
    """Required checks that were skipped, those with the same reason together."""
    reasons: dict[str, list[str]] = {}
    for check in checks:
        if check.required and check.status == "skipped":
            reasons.setdefault(check.why, []).append(check.name)
    for why, names in reasons.items():
        yield f"{len(names)} checks were skipped: {why}" if len(names) > 1 else f"check {names[0]} was skipped: {why}"


def number_text(measured: float | None) -> str:
    """A measured number as text."""
    return "-" if measured is None else f"{measured:.4g}"
