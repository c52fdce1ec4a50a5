"""A realistic report document, written by the classes that write it for `verify`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import Attack
from advcal_edge.retrieval import Recall
from advcal_edge.spec import thermal
from advcal_edge.threat import ThreatModel
from advcal_edge.verify import BUDGETS, Report
from advcal_edge.verify.check import Check, at_least, at_most, skipped
from advcal_edge.verify.checks.drift import Drift, drift_within_margin
from advcal_edge.verify.checks.masking import independent_reference
from advcal_edge.verify.comparison import Comparison
from advcal_edge.verify.evidence import Crafted, Evidence, Side
from advcal_edge.verify.gate import decide
from advcal_edge.verify.picture import views
from advcal_edge.verify.ranking import top_five
from advcal_edge.verify.retrieval import Retrieval
from advcal_edge.verify.verification import compare, drift_to_json

MARGIN = 0.02
BUDGET = BUDGETS["quick"]
GRAPH = "no gradient graph: export without `--no-gradient`"


def passing(n: int = 1000) -> dict[str, Any]:
    """A report that passes."""
    return document(n, lost=0.004, gained=0.003)


def failing(n: int = 1000) -> dict[str, Any]:
    """A report on an engine that loses robustness and whose gradients mislead."""
    broken = at_most("black_box_not_stronger", 0.034, 0.01, "share broken by Square and by no white-box attack")
    return document(n, lost=0.08, gained=0.004, changed={"black_box_not_stronger": broken})


def inconclusive(n: int = 200) -> dict[str, Any]:
    """A report on few samples and without a gradient graph."""
    return document(n, lost=0.02, gained=0.01, changed={"huge_eps": skipped("huge_eps", "<= 0", GRAPH)})


def paired(n: int = 500) -> dict[str, Any]:
    """A report that passes, with partners and enough labels for top-5."""
    return {**passing(n), **rankings(n)}


def rankings(n: int) -> dict[str, Any]:
    """`retrieval` and `top5`: on either side the same ranks, under attack ten times as deep."""
    ranks = np.random.default_rng(5).geometric(0.7, n) - 1
    found = {"clean": Recall(ranks, ranks), "attacked": Recall(10 * ranks, 12 * ranks)}
    by_side: Mapping[str, Mapping[Side, Recall]] = {
        name: {"reference": recall, "engine": recall} for name, recall in found.items()
    }
    retrieval = Retrieval([], by_side["clean"], by_side["attacked"])
    return {"retrieval": retrieval.to_json(), "top5": top_five(ranks, ranks, [], 12)}


def document(n: int, *, lost: float, gained: float, changed: dict[str, Check] | None = None) -> dict[str, Any]:
    """A report whose engine loses and gains these shares of samples under attack."""
    rng = np.random.default_rng(7)
    right = rng.random(n) < 0.91
    engine_right = right ^ (rng.random(n) < 0.004)
    evidence = attacks(rng, right, engine_right, lost, gained)
    comparisons: Sequence[Comparison] = compare(right, engine_right, evidence, MARGIN)
    found = drift(rng, n)
    checks = [(changed or {}).get(check.name, check) for check in [*quiet_checks(), drift_within_margin(found)]]
    verdict, reasons = decide(comparisons, checks)
    report = Report(
        verdict=verdict,
        reasons=reasons,
        engine={
            "path": "onnx/forward.int8.onnx",
            "listed": True,
            "precision": "int8",
            "sha256": "3f9c2a1b" * 8,
            "bytes": 969588,
            "fingerprint": "onnxruntime 1.22.0 CPUExecutionProvider all sha256:3f9c2a1b3f9c",
            "gradient": "onnxruntime 1.22.0 CPUExecutionProvider basic sha256:f219eb11d79b",
        },
        reference={"kind": "torch", "fingerprint": "torch 2.9.0+cpu cpu 75451721788a"},
        threat=ThreatModel("linf", 4 / 255, (0.0, 1.0)).to_json(),
        budget=BUDGET.to_json(),
        samples=n,
        seed=0,
        margin=MARGIN,
        comparisons=comparisons,
        checks=checks,
        evidence=evidence,
        drift=drift_to_json(found),
        retrieval=None,
        top5=None,
        gallery=pictures(rng),
        context={
            "tool": "0.1.0",
            "encoder": {"name": "bindlite", "sha256": "5d" * 32, "license": "Apache-2.0"},
            "modality": thermal(64).to_json(),
            "adapter": None,
            "labels": ["person", "background", "car", "dog", "cat"],
            "hashes": {"manifest": "c4" * 32, "probe.npz": "e1" * 32},
        },
        environment={"python": "3.11.9", "system": "Linux 6.8 x86_64", "onnxruntime": "1.22.0", "cores": "2"},
        seconds=83.4,
    )
    text = json.dumps(report.to_json(), allow_nan=False)
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def attacks(
    rng: np.random.Generator,
    right: NDArray[np.bool_],
    engine_right: NDArray[np.bool_],
    lost: float,
    gained: float,
) -> list[Evidence]:
    """Three routes, each breaking a part of what still stands."""
    weak = rng.random(len(right))
    flip_lost, flip_gained = rng.random(len(right)) < lost, rng.random(len(right)) < gained
    plan: list[tuple[str, Attack, Side, float]] = [
        ("transfer", BUDGET.first(), "reference", 0.28),
        *(("transfer", attack, "reference", 0.34) for attack in BUDGET.stronger()),
        ("gradient", BUDGET.first(), "engine", 0.29),
        *(("gradient", attack, "engine", 0.345) for attack in BUDGET.stronger()),
        ("black box", BUDGET.black_box(), "engine", 0.347),
    ]
    found: list[Evidence] = []
    standing = {"reference": right.copy(), "engine": engine_right.copy()}
    for route, attack, side, reach in plan:
        attacked = standing[side].copy()
        reference = attacked & (weak < reach) & ~flip_gained
        engine = attacked & ((weak < reach) | flip_lost) & ~(flip_gained & (weak < 0.5))
        queries = np.where(attacked, 10, 0).astype(np.int64)
        crafted = Crafted(route, repr(attack), side, np.zeros((len(right), 1), np.float32), attacked, queries, engine)
        found.append(Evidence(crafted, reference.astype(np.int64), engine.astype(np.int64)))
        standing[side] &= ~(engine if side == "engine" else reference)
    return found


def drift(rng: np.random.Generator, n: int) -> Drift:
    """Small drifts, and margins of which a few are tiny."""
    change = 0.004 * rng.lognormal(0, 0.5, n)
    return Drift(1 - change**2, change, 0.4 * rng.beta(1.6, 3, n))


def quiet_checks() -> list[Check]:
    """Every check but drift, each passed."""
    return [
        at_most("unit_norm", 2.1e-7, 1e-3, "largest deviation of |z| from one; NaN fails"),
        at_most("repeatable", 0.0, 1e-6, "largest change of z between two runs of one batch, another in between"),
        at_most("batch_independent", 0.0031, 0.02, "largest change of z between batch sizes and orders"),
        at_most("eps_zero", 0.0, 0.0, "share of labels that an attack of eps 0 changes"),
        at_most("huge_eps", 0.0, 0.0, "share of samples that withstand eps 1"),
        at_most("gradients_alive", 0.0, 0.01, "share of samples whose input gradient vanishes or is NaN"),
        at_most(
            "finite_differences",
            0.0684,
            0.3,
            "relative error of the gradient against differences of the engine itself, upper quartile",
        ),
        at_most("black_box_not_stronger", 0.002, 0.01, "share broken by Square and by no white-box attack"),
        at_most("transfer_not_stronger", -0.012, 0.05, "lead of transferred inputs over inputs crafted on the engine"),
        at_most("not_more_robust", -0.018, 0.01, "95 % lower bound of the engine's gain in worst-case accuracy"),
        independent_reference({"sha256": "a"}, {"kind": "torch"}),
        at_least("survives_rounding", 0.88, 0.5, "share of successes left after rounding to 8 bits", required=False),
    ]


def pictures(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Two thermal samples with their adversarial twins."""
    modality = thermal(64)
    yy, xx = np.mgrid[:64, :64]
    shown = []
    for sample, (before, after, width) in enumerate(
        (("person", "background", 6), ("car", "person", 17), ("dog", "cat", 9))
    ):
        blob = np.exp(-(((xx - 32) / width) ** 2 + ((yy - 34) / 14) ** 2))
        clean = (0.15 + 0.7 * blob + 0.05 * rng.standard_normal((64, 64))).astype(np.float32)[None]
        change = rng.choice([-4 / 255, 4 / 255], (1, 64, 64)).astype(np.float32)
        shown.append(
            {
                "sample": 11 * sample + 3,
                "truth": before,
                "before": before,
                "after": after,
                **views(clean, clean + change, modality),
            }
        )
    return shown
