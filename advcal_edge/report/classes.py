"""The drop class by class: an engine may hold on average and give up one class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from advcal_edge.report.comparison import Comparison, Verdict
from advcal_edge.report.measured import Measured
from advcal_edge.retrieval import share
from advcal_edge.stats import Interval, tango

CONFIDENCE = 0.95
PER_CLASS = ("clean", "worst case")
"""The comparisons that are also made class by class."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassDrop:
    """One comparison on the samples of one class."""

    label: str
    paired: Comparison
    classes: int
    """Number of classes with samples, k. The worst of them is chosen after looking, so each interval has confidence
    1 - 0.05 / k, and all of them hold together with 95 % (Bonferroni; Dunn 1961, JASA 56:52-64)."""

    @property
    def interval(self) -> Interval:
        """Score interval of the drop (Tango 1998), simultaneous over the classes."""
        confidence = 1 - (1 - CONFIDENCE) / self.classes
        return tango(self.paired.only_reference, self.paired.only_engine, len(self.paired.reference), confidence)

    def verdict(self, margin: float) -> Verdict:
        """Pass if the whole interval lies below the margin, fail if it lies above, else inconclusive."""
        interval = self.interval
        if interval.high < margin:
            return "pass"
        return "fail" if interval.low > margin else "inconclusive"

    def to_json(self) -> dict[str, Any]:
        """Plain types for the report."""
        return {
            "comparison": self.paired.name,
            "label": self.label,
            "n": len(self.paired.reference),
            "reference": share(self.paired.reference),
            "engine": share(self.paired.engine),
            "only_reference": self.paired.only_reference,
            "only_engine": self.paired.only_engine,
            "drop": self.paired.drop,
            "interval": self.interval.to_json(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class ByClass:
    """Clean and in the worst case, the drop of every class that has samples."""

    drops: Mapping[str, Sequence[ClassDrop]]
    """By the name of the comparison, in the order of the labels."""
    margin: float | None
    """The largest drop allowed in any class; None if classes do not decide."""

    @classmethod
    def of(cls, measured: Measured, comparisons: Sequence[Comparison]) -> ByClass:
        """Split the comparisons by the true label."""
        present = np.unique(measured.truth).tolist()
        drops = {
            item.name: [
                ClassDrop(measured.labels[label], only(item, measured.truth == label), len(present))
                for label in present
            ]
            for item in comparisons
            if item.name in PER_CLASS
        }
        return cls(drops, measured.class_margin)

    def worst(self, comparison: str) -> ClassDrop:
        """The class with the largest drop; of several, the one whose interval reaches farthest."""
        return max(self.drops[comparison], key=lambda item: (item.paired.drop, item.interval.high))

    def reasons(self, verdict: Verdict) -> Iterator[str]:
        """Classes that fail the margin, or that leave it open; nothing without a margin."""
        if self.margin is None:
            return
        for name, drops in self.drops.items():
            found = [item for item in drops if item.verdict(self.margin) == verdict]
            if not found:
                continue
            one = max(found, key=lambda item: (item.paired.drop, item.interval.high))
            low, high = 100 * one.interval.low, 100 * one.interval.high
            others = f", and {len(found) - 1} other classes likewise" if len(found) > 1 else ""
            word = "fell" if verdict == "fail" else "drop"
            about = "allowed" if verdict == "fail" else "straddles"
            yield (
                f"{name} of class {one.label} {word} {100 * one.paired.drop:.1f} points [{low:.1f}, {high:.1f}],"
                f" {about} {100 * self.margin:g} per class{others}"
            )

    @property
    def verdict(self) -> Verdict | None:
        """Fail if any class fails, inconclusive if any is open, else pass; None without a margin."""
        if self.margin is None:
            return None
        found = {item.verdict(self.margin) for drops in self.drops.values() for item in drops}
        return "fail" if "fail" in found else "inconclusive" if "inconclusive" in found else "pass"

    def to_json(self) -> dict[str, Any]:
        """Plain types for `derived.classes`."""
        first = next(iter(self.drops.values()))
        return {
            "classes": len(first),
            "confidence": 1 - (1 - CONFIDENCE) / len(first),
            "margin": self.margin,
            "verdict": self.verdict,
            "worst": [self.worst(name).to_json() for name in self.drops],
        }


def only(item: Comparison, rows: np.ndarray[Any, np.dtype[np.bool_]]) -> Comparison:
    """The same comparison on some of its samples (n,)."""
    return Comparison(item.name, item.reference[rows], item.engine[rows], item.margin, decides=False)
