"""Realistic report documents, written by hand: random flags first, then every figure counted from them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
from sample_checks import quiet_checks
from sample_counts import (
    SIDES,
    comparison,
    curve,
    flips,
    matrix,
    rankings,
    rebuilds,
    retrieval,
    route,
    text,
    top_five,
)
from sample_flags import ROUTES, Flags, Outcome, outcome
from sample_pictures import pictures

from advcal_edge.bundle import REPORT_SCHEMA
from advcal_edge.spec import thermal
from advcal_edge.stats import Interval
from advcal_edge.storage import canonical, sha256_bytes
from advcal_edge.threat import ThreatModel
from advcal_edge.verify.check import NO_GRADIENT, Check, Measurement
from advcal_edge.verify.checks.endpoints import huge_eps
from advcal_edge.verify.checks.masking import black_box_not_stronger
from advcal_edge.verify.gate import decide

MARGIN = 0.02
LABELS = ("person", "background", "car", "dog", "cat")
ENVIRONMENT = {"python": "3.11.9", "system": "Linux 6.8 x86_64", "onnxruntime": "1.22.0", "cores": "2"}


def passing(n: int = 1000) -> dict[str, Any]:
    """A report that passes."""
    return document(n, lost=0.004, gained=0.003)


def failing(n: int = 1000) -> dict[str, Any]:
    """A report on an engine that loses robustness and whose gradients mislead."""
    broken = black_box_not_stronger.settle(Measurement(0.034, "share broken by Square and by no white-box attack"))
    return document(n, lost=0.08, gained=0.004, changed={"black_box_not_stronger": broken})


def inconclusive(n: int = 200) -> dict[str, Any]:
    """A report on few samples and without a gradient graph."""
    return document(n, lost=0.03, gained=0.02, changed={"huge_eps": huge_eps.settle(Measurement(None, NO_GRADIENT))})


def paired(n: int = 500) -> dict[str, Any]:
    """A report that passes, with partners and enough labels for top-5."""
    return document(n, lost=0.004, gained=0.003, partners=True)


def rebuilt(n: int = 500) -> dict[str, Any]:
    """A report that passes, on the first of three builds."""
    found = passing(n)
    hits = next(item for item in found["comparisons"] if item["name"] == "worst case")["engine"]["hits"]
    return {**found, "rebuilds": rebuilds(found, [hits - 2, hits + 1])}


def climbed(n: int = 500) -> dict[str, Any]:
    """A report that passes, at the third step of a ladder."""
    return laddered(passing(n))


def laddered(found: dict[str, Any], step: str = "fp32 last blocks") -> dict[str, Any]:
    """The same report at a step of a ladder, after one broken engine and one step that changed nothing."""
    last = {key: found[key] for key in ("verdict", "reasons")}
    attempts = [
        {
            "step": "as built",
            "engine": None,
            "verdict": "fail",
            "reasons": ["`g.onnx`: cosine is nan"],
        },
        {"step": "fp32 attention", "engine": None, "verdict": "skipped", "reasons": ["it changes nothing"]},
        {"step": step, "engine": found["engine"]["sha256"], **last},
    ]
    reached = step if found["verdict"] == "pass" else None
    ladder = {"asked": found["engine"]["precision"], "attempts": attempts, "reached": reached}
    return {**found, "engine": {**found["engine"], "step": step}, "ladder": ladder}


def document(
    n: int,
    *,
    lost: float,
    gained: float,
    changed: dict[str, Check] | None = None,
    partners: bool = False,
    margin: float = MARGIN,
) -> dict[str, Any]:
    """A report whose engine loses and gains these shares of samples under attack."""
    rng = np.random.default_rng(7)
    found = outcome(rng, n, lost=lost, gained=gained)
    truths = rng.integers(0, len(LABELS), n)
    sides = compared(found)
    ranks = rankings(n)
    if partners:
        sides |= {f"recall@10 {state}": dict.fromkeys(SIDES, places < 10) for state, places in ranks.items()}
    comparisons = [
        comparison(name, flags["reference"], flags["engine"], margin, name not in ROUTES)
        for name, flags in sides.items()
    ]
    drift = drifts(rng, n)
    checks = [(changed or {}).get(check.name, check) for check in quiet_checks(comparisons, drift, margin)]
    verdict, reasons = decide([as_object(item) for item in comparisons], checks)
    made = {
        "schema": REPORT_SCHEMA,
        "claim": "observable decision equivalence on the stated inputs",
        "verdict": verdict,
        "reasons": reasons,
        "engine": {
            "path": "onnx/forward.int8.onnx",
            "listed": True,
            "precision": "int8",
            "sha256": "3f9c2a1b" * 8,
            "bytes": 969588,
            "fingerprint": "onnxruntime 1.22.0 CPUExecutionProvider all sha256:3f9c2a1b3f9c",
            "gradient": "onnxruntime 1.22.0 CPUExecutionProvider basic sha256:f219eb11d79b",
        },
        "reference": {"kind": "torch", "fingerprint": "torch 2.9.0+cpu cpu 75451721788a"},
        "sources": [
            {"name": "trunk", "kind": "torch", "fingerprint": "torch 2.9.0+cpu cpu 1d3be0aa47f2"},
            {"name": "fp32", "kind": "onnx", "fingerprint": "onnxruntime 1.22.0 CPUExecutionProvider all sha256:90c1"},
        ],
        "threat": ThreatModel("linf", 4 / 255, (0.0, 1.0)).to_json(),
        "budget": {
            "name": "quick",
            "pgd_steps": 10,
            "pgd_restarts": 1,
            "apgd_steps": 10,
            "apgd_restarts": 1,
            "losses": ["ce", "margin"],
            "targets": 0,
            "difference_steps": 20,
            "square_queries": 50,
            "label_queries": 100,
        },
        "samples": n,
        "seed": 0,
        "margin": margin,
        "expectation": 1,
        "comparisons": comparisons,
        "routes": [route(item) for item in found.routes],
        "matrix": matrix(rng, found),
        "curve": {side: curve(rng, found.clean[side], scale) for side, scale in zip(SIDES, (0.03, 0.029), strict=True)},
        "flips": flips(LABELS, truths, found),
        "checks": [{**check.to_json(), "page": f"docs/checks/{check.name}.md"} for check in checks],
        "drift": drift,
        **({"retrieval": retrieval(ranks), "top5": top_five(found, 12)} if partners else {}),
        "per_sample": {
            "comparisons": {name: {side: text(flags[side]) for side in SIDES} for name, flags in sides.items()},
            "routes": [
                {
                    "attacked": text(item.attacked),
                    **{f"fools_{side}": text(item.fools[side]) for side in SIDES},
                }
                for item in found.routes
            ],
        },
        "hashes": {
            "engine": "3f9c2a1b" * 8,
            "graph": "3f9c2a1b" * 8,
            "gradient": "f219eb11" * 8,
            "bundle": "c4" * 32,
            "data": "e1" * 32,
            "centers": "77" * 32,
            "environment": sha256_bytes(canonical(ENVIRONMENT)),
        },
        "gallery": pictures(rng, {k: LABELS[int(truths[k])] for k in np.flatnonzero(found.fooled)[:3].tolist()}),
        "context": {
            "tool": "0.1.0",
            "encoder": {"name": "bindlite", "sha256": "5d" * 32, "license": "Apache-2.0"},
            "modality": thermal(64).to_json(),
            "adapter": None,
            "labels": list(LABELS),
            "hashes": {"manifest": "c4" * 32, "probe.npz": "e1" * 32},
        },
        "environment": ENVIRONMENT,
        "seconds": 83.4,
    }
    loaded: dict[str, Any] = json.loads(json.dumps(made, allow_nan=False))
    return loaded


def compared(found: Outcome) -> dict[str, dict[str, Flags]]:
    """Right or not on either side: clean, each route, the worst case."""
    sides = {"clean": found.clean}
    sides |= {name: {side: found.withstood(side, name) for side in SIDES} for name in ROUTES}
    return {**sides, "worst case": {side: found.withstood(side, *ROUTES) for side in SIDES}}


def as_object(item: dict[str, Any]) -> Any:
    """A comparison as the gate reads it."""
    return SimpleNamespace(**{**item, "interval": Interval(*item["interval"])})


def drifts(rng: np.random.Generator, n: int) -> dict[str, Any]:
    """Small drifts, and margins of which a few are tiny."""
    change = [float(f"{value:.3g}") for value in 0.004 * rng.lognormal(0, 0.5, n)]
    margin = [float(f"{value:.3g}") for value in 0.4 * rng.beta(1.6, 3, n)]
    ties = [k for k in range(n) if 2 * change[k] >= margin[k]]
    cosine = 1 - np.square(change)
    return {
        "cosine_min": float(cosine.min()),
        "cosine_mean": float(cosine.mean()),
        "near_ties": len(ties),
        "near_tie_samples": ties,
        "change": change,
        "margin": margin,
    }
