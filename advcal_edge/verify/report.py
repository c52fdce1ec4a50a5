"""What `verify` found: the verdict, everything it rests on, and what exactly was tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.bundle import REPORT_SCHEMA
from advcal_edge.verify.check import Check
from advcal_edge.verify.comparison import Comparison, Verdict, accuracy
from advcal_edge.verify.evidence import Evidence
from advcal_edge.verify.retrieval import Retrieval

SCHEMA = REPORT_SCHEMA


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """One engine against its reference on the same samples; fractions throughout."""

    verdict: Verdict
    reasons: Sequence[str]
    engine: Mapping[str, Any]
    reference: Mapping[str, Any]
    threat: Mapping[str, Any]
    budget: Mapping[str, Any]
    samples: int
    seed: int
    margin: float
    comparisons: Sequence[Comparison]
    checks: Sequence[Check]
    evidence: Sequence[Evidence]
    drift: Mapping[str, Any]
    retrieval: Retrieval | None  # None where samples have no partners
    top5: Mapping[str, Any] | None  # None among five labels or fewer
    gallery: Sequence[Mapping[str, Any]]
    context: Mapping[str, Any]  # bundle, encoder, modality, data and hashes, as the manifest has them
    environment: Mapping[str, str]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The document that `report.html` is rendered from and that anyone can check."""
        return {
            "schema": SCHEMA,
            "claim": "observable decision equivalence on the stated inputs",
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "engine": dict(self.engine),
            "reference": dict(self.reference),
            "threat": dict(self.threat),
            "budget": dict(self.budget),
            "samples": self.samples,
            "seed": self.seed,
            "margin": self.margin,
            "comparisons": [comparison.to_json() for comparison in self.comparisons],
            "routes": [route(item) for item in self.evidence],
            "checks": [check.to_json() for check in self.checks],
            "drift": dict(self.drift),
            **({} if self.retrieval is None else {"retrieval": self.retrieval.to_json()}),
            **({} if self.top5 is None else {"top5": dict(self.top5)}),
            "per_sample": {
                comparison.name: {"reference": flags(comparison.reference), "engine": flags(comparison.engine)}
                for comparison in self.comparisons
            },
            "gallery": [dict(item) for item in self.gallery],
            "context": dict(self.context),
            "environment": dict(self.environment),
            "seconds": round(self.seconds, 2),
        }


def route(evidence: Evidence) -> dict[str, Any]:
    """One attack: on whom it was crafted, how many it met, whom it fooled, what it cost."""
    crafted = evidence.crafted
    met = crafted.attacked
    queries = crafted.queries[met]
    return {
        "route": crafted.route,
        "attack": crafted.attack,
        "crafted_on": crafted.crafted_on,
        "attacked": int(met.sum()),
        "fools_reference": int(evidence.fools_reference.sum()),
        "fools_engine": int(evidence.fools_engine.sum()),
        "engine_among_attacked": accuracy(~evidence.fools_engine[met]) if met.any() else None,
        "queries_mean": float(queries.mean()) if met.any() else 0.0,
    }


def flags(right: NDArray[np.bool_]) -> str:
    """One character a sample, in the order of the probe: 1 right, 0 wrong."""
    return "".join("1" if value else "0" for value in right)
