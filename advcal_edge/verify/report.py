"""What `verify` found: the verdict, everything it rests on, and what exactly was tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from advcal_edge.bundle import REPORT_SCHEMA
from advcal_edge.storage import canonical, sha256_bytes
from advcal_edge.verify.block import Bools
from advcal_edge.verify.check import Check
from advcal_edge.verify.checks.drift import Drift
from advcal_edge.verify.comparison import Comparison, Verdict
from advcal_edge.verify.evidence import Evidence
from advcal_edge.verify.gate import decide
from advcal_edge.verify.rebuild import Rebuilds
from advcal_edge.verify.retrieval import Retrieval

SCHEMA = REPORT_SCHEMA
CLAIM = "observable decision equivalence on the stated inputs"


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """One engine against its reference on the same samples; fractions throughout."""

    verdict: Verdict
    reasons: Sequence[str]
    engine: Mapping[str, Any]
    reference: Mapping[str, Any]
    sources: Sequence[Mapping[str, Any]]
    threat: Mapping[str, Any]
    budget: Mapping[str, Any]
    samples: int
    seed: int
    margin: float
    expectation: int  # calls averaged for each question; 1 for an engine that repeats itself
    comparisons: Sequence[Comparison]
    evidence: Sequence[Evidence]
    matrix: Mapping[str, Any] | None  # None without any gradient
    curve: Mapping[str, Any] | None
    flips: Sequence[Mapping[str, Any]]
    checks: Sequence[Check]
    drift: Drift
    retrieval: Retrieval | None  # None where samples have no partners
    top5: Mapping[str, Any] | None  # None among five labels or fewer
    rebuilds: Rebuilds | None
    hashes: Mapping[str, str | None]
    gallery: Sequence[Mapping[str, Any]]
    context: Mapping[str, Any]  # bundle, encoder, modality and data, as the manifest has them
    environment: Mapping[str, str]
    seconds: float  # of the whole run, all its engines together
    ladder: Mapping[str, Any] | None = None  # None where none was climbed

    def climbed(self, ladder: Mapping[str, Any]) -> Report:
        """The same report with the ladder whose last attempt is the engine of this report."""
        return replace(self, ladder=ladder)

    def rebuilt(self, others: Sequence[Report]) -> Report:
        """The same report with what other builds of the engine did; a verdict that depends on the build is open."""
        rebuilds = Rebuilds([report.to_json() for report in (self, *others)])
        verdict, reasons = decide(self.comparisons, self.checks, rebuilds.doubts)
        return replace(self, verdict=verdict, reasons=reasons, rebuilds=rebuilds)

    def to_json(self) -> dict[str, Any]:
        """The document that `report.html` is rendered from and that anyone can check."""
        optional = {
            "matrix": self.matrix,
            "curve": self.curve,
            "retrieval": None if self.retrieval is None else self.retrieval.to_json(),
            "top5": self.top5,
            "rebuilds": None if self.rebuilds is None else self.rebuilds.to_json(),
            "ladder": None if self.ladder is None else dict(self.ladder),
        }
        document = {
            "schema": SCHEMA,
            "claim": CLAIM,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "engine": dict(self.engine),
            "reference": dict(self.reference),
            "sources": [dict(source) for source in self.sources],
            "threat": dict(self.threat),
            "budget": dict(self.budget),
            "samples": self.samples,
            "seed": self.seed,
            "margin": self.margin,
            "expectation": self.expectation,
            "comparisons": [comparison.to_json() for comparison in self.comparisons],
            "routes": [item.to_json() for item in self.evidence],
            "flips": [dict(flip) for flip in self.flips],
            "checks": [check.to_json() for check in self.checks],
            "drift": drift_to_json(self.drift),
            "per_sample": {
                "comparisons": {
                    item.name: {"reference": flags(item.reference), "engine": flags(item.engine)}
                    for item in self.comparisons
                },
                "routes": [
                    {
                        "attacked": flags(item.attacked),
                        "fools_reference": flags(item.fools_reference),
                        "fools_engine": flags(item.fools_engine),
                    }
                    for item in self.evidence
                ],
            },
            "hashes": {**self.hashes, "environment": sha256_bytes(canonical(self.environment))},
            "gallery": [dict(item) for item in self.gallery],
            "context": dict(self.context),
            "environment": dict(self.environment),
            "seconds": round(self.seconds, 2),
        }
        return document | {name: found for name, found in optional.items() if found is not None}


def flags(right: Bools) -> str:
    """One character a sample, in the order of the probe: 1 or 0."""
    return "".join("1" if value else "0" for value in right)


def drift_to_json(drift: Drift) -> dict[str, Any]:
    """Per-sample drift against margin with its extremes and the samples whose decision hangs by a thread."""
    return {
        "cosine_min": float(drift.cosine.min()),
        "cosine_mean": float(drift.cosine.mean()),
        "near_ties": int(drift.near_ties.sum()),
        "near_tie_samples": [int(row) for row in drift.near_tie_rows],
        "change": [float(f"{value:.6g}") for value in drift.change],
        "margin": [float(f"{value:.6g}") for value in drift.margin],
    }
