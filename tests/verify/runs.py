"""A whole verification in one call, for tests that look at reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import AttackedModel
from advcal_edge.probe import Probe
from advcal_edge.spec import Modality
from advcal_edge.threat import ThreatModel
from advcal_edge.verify import Budget, HeldOut, ModelSet, State, Verification
from advcal_edge.verify.engine_checks import detect_randomness
from advcal_edge.verify.model_set import embed
from advcal_edge.verify.outcome import collect

TEST_BUDGET = Budget(
    "test",
    ("ce", "margin"),
    {
        "pgd_steps": 5,
        "pgd_restarts": 1,
        "apgd_steps": 4,
        "apgd_restarts": 1,
        "targets": 0,
        "difference_steps": 3,
        "square_queries": 20,
        "label_queries": 0,
    },
)
HASHES: Mapping[str, str | None] = dict.fromkeys(
    ("engine", "graph", "gradient", "bundle", "calibration", "data", "centers")
)

Reports = dict[str, dict[str, Any]]
Named = Mapping[str, AttackedModel]


def verify_all(
    reference: AttackedModel,
    engines: Named,
    modality: Modality,
    probe: Probe,
    threat: ThreatModel,
    *,
    sources: Named | None = None,
    budget: Budget = TEST_BUDGET,
    margin: float = 0.02,
    calibration: NDArray[np.float32] | None = None,
) -> Reports:
    """One report for each engine, all attacked in one run; the reference is anchored by itself."""
    held_out = HeldOut.of(probe, threat, seed=0, calibration=calibration, anchor=embed(reference, probe.x))
    models = ModelSet(
        replace(reference, info={"kind": "torch", "fingerprint": "test"}),
        {name: replace(model, calls=detect_randomness(model, held_out)) for name, model in engines.items()},
        sources or {},
    )
    with State.temporary() as state:
        verification = Verification(models, modality, held_out, budget, margin, state)
        verification.run()
        return {name: collect(verification, name, context={}, hashes=HASHES).to_json() for name in engines}


def failed(report: Mapping[str, Any]) -> set[str]:
    """Names of required checks and deciding comparisons that failed."""
    checks = {c["name"] for c in report["derived"]["checks"] if c["required"] and c["status"] == "fail"}
    return checks | {c["name"] for c in report["derived"]["comparisons"] if c["decides"] and c["verdict"] == "fail"}
