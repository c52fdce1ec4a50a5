"""Realistic `measured` documents: random ranks, and everything else that a report holds beside its conclusions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import APGD, PGD, RayS, Square
from advcal_edge.bundle import REPORT_SCHEMA
from advcal_edge.report.answers import Answers
from advcal_edge.report.checks import NO_GRADIENT, compare_attacks, judge_survival, judge_value
from advcal_edge.report.derive import derive
from advcal_edge.report.implied import BudgetNumbers, cost_of
from advcal_edge.report.results import SECOND_LOOK, flag_text
from advcal_edge.report.second_look import CHANNELS, CLEAN, CRAFTED
from advcal_edge.retrieval import GALLERY
from advcal_edge.spec import thermal
from advcal_edge.storage import canonical, sha256_bytes
from advcal_edge.threat import ThreatModel
from advcal_edge.verify import BUDGETS
from advcal_edge.verify.thumbnails import views

Flags = NDArray[np.bool_]

MARGIN = 0.02
LABELS = ("person", "background", "car", "dog", "cat")
MANY = (*LABELS, "bird", "cup", "tree", "house", "road", "sign", "boat")
ENVIRONMENT = {"python": "3.11.9", "system": "Linux 6.8 x86_64", "onnxruntime": "1.22.0", "cores": "2"}
SIDES = ("reference", "engine")
SOURCES = ("trunk", "fp32")
NO_NODES: Mapping[str, Any] = {"count": 0, "nodes": []}
CENSUS: Mapping[str, Any] = {
    "read": "graph",
    "output": "z",
    "against": "fp32 graph",
    "sha256": "90c1a55e" * 8,
    "found": 0,
    "paths": 1,
    "gain": 4.0,
    "unexplained": NO_NODES,
    "doubtful": NO_NODES,
}
EPS = (*(m * 4 / 255 for m in (0, 0.25, 0.5, 1, 2, 4, 8)), 1.0)
FIRST = repr(PGD(steps=10, select="strongest"))
STRONGER = (repr(APGD(10, 1, "ce")), repr(APGD(10, 1, "margin")))
DIFFERENCE = repr(PGD(steps=5, loss="diva"))
BLIND, LABELLED = repr(Square(queries=50)), repr(RayS(queries=50))
PLAN: tuple[tuple[str, str, str, float], ...] = (
    ("transfer", FIRST, "reference", 0.28),
    ("gradient", FIRST, "engine", 0.29),
    ("transfer", FIRST, "trunk", 0.10),
    ("transfer", FIRST, "fp32", 0.27),
    *(("transfer", attack, "reference", 0.34) for attack in STRONGER),
    ("black box", BLIND, "reference", 0.06),
    ("label only", LABELLED, "reference", 0.04),
    *(("gradient", attack, "engine", 0.345) for attack in STRONGER),
    ("difference", DIFFERENCE, "engine", 0.25),
    ("difference", DIFFERENCE, "reference", 0.24),
    ("black box", BLIND, "engine", 0.06),
    ("label only", LABELLED, "engine", 0.04),
)
"""Route, attack, the model it was crafted on, and the share of samples it reaches, in the order of a real run."""
COSTS = {FIRST: 12, **dict.fromkeys(STRONGER, 12), DIFFERENCE: 7, BLIND: 50, LABELLED: 50}
"""Queries of each attack for a sample that withstands it."""
REACHES = {
    "half of the change": 0.15,
    "a quarter of the change": 0.06,
    "an eighth of the change": 0.02,
    "a random part of the change": 0.1,
}
"""Shares of samples that weaker inputs reach when they are judged again."""


def document(measured: Mapping[str, Any]) -> dict[str, Any]:
    """A report of these measurements, as it is read from disk."""
    found = {"schema": REPORT_SCHEMA, "measured": measured, "derived": derive(measured)}
    loaded: dict[str, Any] = json.loads(json.dumps(found, allow_nan=False))
    return loaded


def with_parts(report: Mapping[str, Any], half: str, **parts: object) -> dict[str, Any]:
    """A report with other parts in one half, whatever the other half says."""
    return {**report, half: {**report[half], **parts}}


def passing(n: int = 1000) -> dict[str, Any]:
    """A report that passes."""
    return document(measure(n, lost=0.004, gained=0.003))


def failing(n: int = 1000) -> dict[str, Any]:
    """A report on an engine that loses robustness and whose gradients mislead."""
    return document(measure(n, lost=0.08, gained=0.004, blind=0.06))


def inconclusive(n: int = 200) -> dict[str, Any]:
    """A report on few samples, with a check that was skipped."""
    found = measure(n, lost=0.03, gained=0.02)
    found["checks"]["huge_eps"] = {"skipped": NO_GRADIENT}
    return document(found)


def paired(n: int = 500) -> dict[str, Any]:
    """A report that passes, with partners and enough labels for top-5."""
    return document(measure(n, lost=0.004, gained=0.003, partners=True, labels=MANY))


def rebuilt(n: int = 500) -> dict[str, Any]:
    """A report that passes, on the first of three builds."""
    return document(with_builds(measure(n, lost=0.002, gained=0.003), (0.004, 0.0)))


def fallen_back(n: int = 1000) -> dict[str, Any]:
    """A report that passes, at the third step of a precision fallback."""
    return document(with_fallback(measure(n, lost=0.004, gained=0.003)))


def foreign(n: int = 500) -> dict[str, Any]:
    """An engine made by others that raised an error on some inputs."""
    measured = measure(n, lost=0.0, gained=0.0, flipped=0.0)
    bridged = ["input `images` for `x`", "fixed batch 8, smaller ones padded", "uint8 input, x * 255 rounded"]
    engine = {**measured["engine"], "path": "other.onnx", "listed": False, "precision": "custom", "bridged": bridged}
    message = "`other.onnx` failed on images (8, 64, 64, 1): no such row"
    return document({**measured, "engine": engine, "raised": {"calls": 9, "shape": [1, 1, 64, 64], "message": message}})


def ranked(n: int = 1000) -> dict[str, Any]:
    """A report that passes with two of 14 ranked products in fp32, the first and the twelfth."""
    measured = with_fallback(measure(n, lost=0.004, gained=0.003), "nodes:12 without 2,3,4,5,6,7,8,9,10,11")
    nodes = [
        {
            "node": f"node_MatMul_{k}",
            "kind": "MatMul",
            "scope": None if k == 2 else f"blocks.{k}.fc1",
            "removed": 9 - k if k < 8 else None,
            "risk": 20.5 - k,
        }
        for k in range(2, 16)
    ]
    ranking = {"inputs": 64, "flips": 9, "builds": 23, "nodes": nodes}
    fallback = {**measured["fallback"], "kept": ["node_MatMul_2", "node_MatMul_13"], "ranking": ranking}
    return document({**measured, "fallback": fallback})


def sequential(n: int = 576) -> dict[str, Any]:
    """A sequential report that passes before the 1000 samples it was allowed, after a look that did not decide."""
    measured = measure(n, lost=0.004, gained=0.003)
    before = {"report": "5a" * 32, "samples": 128, "verdict": "inconclusive", "lost": 1, "gained": 0, "seed": 0}
    terms = {"attacks": "quick: ce, margin", "eps": measured["threat"]["eps"], "margin": MARGIN, "sequential": True}
    looks = {"every": 16, "at_most": 1000}
    return document({**measured, "sequential": looks, "history": [{**before, **terms}]})


def tried_again(n: int = 1000) -> dict[str, Any]:
    """A report that passes at the third try, of a fixed number of samples each."""
    measured = measure(n, lost=0.0, gained=0.0)
    terms = {"attacks": "quick: ce, margin", "eps": measured["threat"]["eps"], "margin": MARGIN, "sequential": False}
    tries = [
        {"report": f"{k}b" * 32, "samples": 100 * k, "verdict": "inconclusive", "lost": k, "gained": 0, "seed": 0}
        for k in (1, 2)
    ]
    return document({**measured, "history": [{**item, **terms} for item in tries]})


def abstaining(n: int = 1000) -> dict[str, Any]:
    """A report that passes, on an engine that is less sure of what is wrong."""
    return document(with_answers(measure(n, lost=0.004, gained=0.003)))


def with_answers(measured: Mapping[str, Any], *, doubt: float = 0.1) -> dict[str, Any]:
    """The same measurements with margins of answers; `doubt` scales those of wrong ones."""
    rank = np.array(measured["clean"]["engine"])
    fooled = np.logical_or.reduce([rank > 0, *(np.array(item["ranks"]["engine"]) > 0 for item in measured["attacks"])])
    margin = np.array(measured["drift"]["margin"])
    clean = np.where(rank > 0, doubt * margin, margin)
    wrong = np.where(fooled, np.maximum(np.where(rank > 0, clean, 0), doubt * margin[::-1]), -np.inf)
    aimed = np.where(fooled, 1.2 * wrong, -np.inf)
    least = np.minimum(clean, np.where(fooled, wrong, 0.7 * clean))
    budget, n = BudgetNumbers(BUDGETS["quick"].numbers, (), len(measured["labels"])), len(rank)
    names = [*(budget.attacks("abstention") if "curve" in measured else []), *budget.attacks("abstention by scores")]
    costs = {name: cost.most for name in names if (cost := cost_of(name))}
    found = Answers(0.05, {name: n * cost for name, cost in costs.items()}, clean, wrong, aimed, least)
    return {**measured, "answers": found.to_json(), "drift": {**measured["drift"], "margin": clean.tolist()}}


def with_builds(measured: Mapping[str, Any], losses: tuple[float, ...]) -> dict[str, Any]:
    """The same measurements, and further builds of the engine that lose these shares of samples."""
    names = [measured["engine"]["sha256"], *(f"{k + 1:x}" * 64 for k in range(len(losses)))]
    n, margin, labels = len(measured["truth"]), measured["margin"], tuple(measured["labels"])
    builds = {}
    for sha256, lost in zip(names[1:], losses, strict=True):
        other = measure(n, lost=lost, gained=0.003, margin=margin, labels=labels, partners="retrieval" in measured)
        other["engine"] = {**measured["engine"], "sha256": sha256}
        absent = ("threat", "budget", "seed", "expectation", "hashes", "gallery", "context", "environment", "seconds")
        builds[sha256] = {key: value for key, value in other.items() if key not in absent}
    return {**measured, "rebuilds": {"builds": names, "measured": builds}}


def with_fallback(measured: Mapping[str, Any], step: str = "fp32 last blocks") -> dict[str, Any]:
    """The same measurements at a step after one broken engine and one step that changed nothing."""
    earlier = [
        {"step": "as built", "engine": None, "verdict": "fail", "reasons": ["`g.onnx`: cosine is nan"]},
        {"step": "fp32 attention", "engine": None, "verdict": "skipped", "reasons": ["it changes nothing"]},
    ]
    fallback = {"asked": measured["engine"]["precision"], "earlier": earlier}
    return {**measured, "engine": {**measured["engine"], "step": step}, "fallback": fallback}


def measure(
    n: int,
    *,
    lost: float,
    gained: float,
    blind: float = 0.0,
    flipped: float = 0.004,
    partners: bool = False,
    seeing: bool = True,
    margin: float = MARGIN,
    labels: tuple[str, ...] = LABELS,
) -> dict[str, Any]:
    """Measurements of an engine that loses and gains these shares of samples under attack.

    `blind` is a share that only black boxes break, `flipped` one that differs when clean. An engine that is not
    `seeing` has no gradient.
    """
    rng = np.random.default_rng(7)
    truth, clean = rng.integers(0, len(labels), n), rng.random(n) < 0.91
    right = {"reference": clean, "engine": clean ^ (rng.random(n) < flipped), **dict.fromkeys(SOURCES, clean)}
    plan = [row for row in PLAN if seeing or row[0] not in ("gradient", "difference")]
    items = attacks(rng, right, len(labels), lost, gained, blind, plan)
    fooled = np.logical_or.reduce([np.array(item["ranks"]["engine"]) > 0 for item in items])
    made: dict[str, Any] = {
        "engine": {
            "path": "onnx/forward.int8.onnx",
            "listed": True,
            "precision": "int8",
            "sha256": "3f9c2a1b" * 8,
            "bytes": 969588,
            "fingerprint": "onnxruntime 1.22.0 CPUExecutionProvider all sha256:3f9c2a1b3f9c",
            "gradient": "onnxruntime 1.22.0 CPUExecutionProvider basic sha256:f219eb11d79b",
            "census": dict(CENSUS),
        },
        "reference": {"kind": "torch", "fingerprint": "torch 2.9.0+cpu cpu 75451721788a"},
        "sources": [
            {"name": "trunk", "kind": "torch", "fingerprint": "torch 2.9.0+cpu cpu 1d3be0aa47f2"},
            {"name": "fp32", "kind": "onnx", "fingerprint": "onnxruntime 1.22.0 CPUExecutionProvider all sha256:90c1"},
        ],
        "threat": ThreatModel("linf", 4 / 255, (0.0, 1.0)).to_json(),
        "budget": BUDGETS["quick"].to_json(),
        "seed": 0,
        "margin": margin,
        "expectation": 1,
        "labels": list(labels),
        "truth": truth.tolist(),
        "clean": {name: ranks(rng, ~flags, len(labels)) for name, flags in right.items()},
        "attacks": items,
        "drift": drift(rng, n),
        "neighbours": (np.arange(min(n, GALLERY)) % 40 == 0).astype(int).tolist(),
        "anchor": (3e-7 * np.random.default_rng(3).random(n)).tolist(),
        "calibration": calibration(clean, items),
        "checks": checks(max(int(right["engine"][:32].sum()), 1), int(fooled.sum())),
        "curve": {side: curve(rng, right[side], scale) for side, scale in zip(SIDES, (0.03, 0.029), strict=True)},
        "hashes": {
            "engine": "3f9c2a1b" * 8,
            "graph": "3f9c2a1b" * 8,
            "gradient": "f219eb11" * 8,
            "bundle": "c4" * 32,
            "data": "e1" * 32,
            "centers": "77" * 32,
            "environment": sha256_bytes(canonical(ENVIRONMENT)),
        },
        "gallery": pictures(rng, {k: labels[truth[k]] for k in np.flatnonzero(fooled)[:3].tolist()}),
        "context": {
            "tool": "0.1.0",
            "encoder": {"name": "bindlite", "sha256": "5d" * 32, "license": "Apache-2.0"},
            "modality": thermal(64).to_json(),
            "adapter": None,
            "hashes": {"manifest": "c4" * 32, "probe.npz": "e1" * 32},
        },
        "environment": ENVIRONMENT,
        "seconds": 83.4,
    }
    if not seeing:
        made["engine"]["gradient"] = made["hashes"]["gradient"] = None
        del made["curve"]
    loaded: dict[str, Any] = json.loads(json.dumps({**made, **({"retrieval": retrieval(n)} if partners else {})}))
    return loaded


def calibration(clean: Flags, items: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of the first 200 samples, of which weaker attacks left some more standing."""
    standing = clean & ~np.logical_or.reduce([np.array(item["ranks"]["reference"]) > 0 for item in items])
    n = min(len(clean), 200)
    return {
        "threat": ThreatModel("linf", 4 / 255, (0.0, 1.0)).to_json(),
        "clean": {"correct": int(clean[:n].sum()), "n": n},
        "worst": {"correct": min(int(standing[:n].sum()) + n // 50, n), "n": n},
        "attacked": None,
    }


def attacks(
    rng: np.random.Generator,
    right: Mapping[str, Flags],
    labels: int,
    lost: float,
    gained: float,
    blind: float,
    plan: Sequence[tuple[str, str, str, float]],
) -> list[dict[str, Any]]:
    """Every attack of the budget; later ones meet what earlier ones left standing, as `verify.crafting` has it."""
    n = len(right["engine"])
    weak = rng.random(n)
    flip_lost, flip_gained, only_blind = (rng.random(n) < share for share in (lost, gained, blind))
    standing, shared = {side: right[side].copy() for side in SIDES}, right["reference"].copy()
    items = []
    for route, attack, crafted_on, reach in plan:
        if attack == FIRST or route == "black box":
            attacked = right[crafted_on].copy()
        elif route == "difference":
            attacked = right["reference"] & right["engine"] & standing[crafted_on]
        else:
            attacked = (shared if crafted_on == "reference" else standing["engine"]).copy()
        reached = attacked & (weak < reach + 0.01 * rng.standard_normal(n))
        fools = {
            "reference": reached & ~flip_gained,
            "engine": (reached | (attacked & flip_lost)) & ~(flip_gained & (weak < 0.5)) & ~only_blind,
        }
        if route == "black box":
            fools["engine"] |= attacked & only_blind
        if attack == FIRST:
            fools |= {name: fools["reference"] & (rng.random(n) < 0.8) for name in SOURCES}
        found = {name: ranks(rng, flags, labels) for name, flags in fools.items()}
        broken = int((attacked & fools[crafted_on]).sum())
        queries = COSTS[attack] * int(attacked.sum()) - (0 if attack == FIRST else 5 * broken)
        row = {"route": route, "attack": attack, "crafted_on": crafted_on, "attacked": flag_text(attacked)}
        items.append({**row, "queries": queries, "ranks": found})
        for side in SIDES:
            standing[side] &= ~fools[side]
        if attack == FIRST or (crafted_on == "reference" and route != "difference"):
            shared &= ~fools["reference"]
    lost = {side: np.logical_or.reduce([np.array(item["ranks"][side]) > 0 for item in items]) for side in SIDES}
    return [*items, *judged_again(np.random.default_rng(11), right, labels, weak, lost)]


def judged_again(
    rng: np.random.Generator,
    right: Mapping[str, Flags],
    labels: int,
    weak: NDArray[np.float64],
    lost: Mapping[str, Flags],
) -> list[dict[str, Any]]:
    """Every variant of inputs, crafted on either side in turn; each side loses only samples it has lost before."""
    both, turn, items = right["reference"] & right["engine"], np.arange(len(weak)) % 2, []
    for name in (*CRAFTED, *(name for name in CLEAN if name != CHANNELS)):  # thermal frames have one channel
        reach = REACHES.get(name, 0.3 if name in CRAFTED else 0.0)
        for number, side in enumerate(SIDES if name in CRAFTED else SIDES[:1]):
            attacked = both & (turn == number) if name in CRAFTED else both
            found = {judge: ranks(rng, attacked & lost[judge] & (weak < reach), labels) for judge in SIDES}
            row = {"route": SECOND_LOOK, "attack": name, "crafted_on": side, "attacked": flag_text(attacked)}
            items.append({**row, "queries": int(attacked.sum()), "ranks": found})
    return items


def ranks(rng: np.random.Generator, wrong: Flags, labels: int) -> list[int]:
    """Rank of the true label: 0 where it is right, else drawn at random."""
    found: list[int] = np.where(wrong, rng.integers(1, labels, len(wrong)), 0).tolist()
    return found


def checks(tried: int, fooled: int) -> dict[str, Any]:
    """Every check that is measured on the engine, all of them passed.

    Attacks are compared on the samples `tried`; `fooled` of all can be fooled.
    """
    ahead, behind = np.zeros(tried, np.bool_), np.arange(tried) < 1
    leads = {
        "more_steps_not_stronger": "20 steps over 10",
        "one_step_not_stronger": "one step over 10",
        "noise_harmless": "noise (8 draws break 0) over the gradient (breaks 9)",
        "losses_agree": "PGD with `margin` over PGD with `ce`",
        "targets_agree": "targeted over untargeted attacks",
    }
    found = [
        judge_value("unit_norm", 2.1e-7, "largest deviation of |z| from one; NaN fails"),
        judge_value("repeatable", 0.0, "largest change of z between two runs of one batch, another in between"),
        judge_value("batch_independent", 0.0031, "largest change of z between batch sizes and orders"),
        judge_value("eps_zero", 0.0, "share of labels that an attack of eps 0 changes"),
        judge_value("huge_eps", 0.0, "share of samples that withstand eps 1"),
        judge_value("gradients_alive", 0.0, "share of samples whose input gradient vanishes or is NaN"),
        judge_value("finite_differences", 0.0684, "relative error of the gradient against differences of the engine"),
        judge_value("gradient_norms", 1.04, "slopes in random directions over what the gradient predicts"),
        judge_value("agrees_elsewhere", 0.0012, "95 % lower bound of the share of disagreement off the probe"),
        *(compare_attacks(name, ahead, behind, what) for name, what in leads.items()),
        judge_survival(fooled, fooled - fooled // 8, 1.1, 8),
    ]
    return {check.name: dict(check.raw) for check in found}


def drift(rng: np.random.Generator, n: int) -> dict[str, Any]:
    """Small drifts, and margins of which a few are tiny."""
    change = 0.004 * rng.lognormal(0, 0.5, n)
    return {
        "cosine": (1 - np.square(change)).tolist(),
        "change": change.tolist(),
        "margin": (0.4 * rng.beta(1.6, 3, n)).tolist(),
    }


def curve(rng: np.random.Generator, clean: Flags, scale: float) -> dict[str, Any]:
    """Robustness against the radius on the first samples, falling to nothing."""
    right = clean[:64]
    room = scale * rng.lognormal(0, 0.8, len(right))  # the radius that each sample withstands
    points = [{"eps": eps, "right": flag_text(right & (room > eps) & (eps < 1))} for eps in EPS]
    return {"attack": repr(PGD(steps=10)), "points": points}


def retrieval(n: int) -> dict[str, Any]:
    """Ranks of partners, clean and crafted on either side, alike on both sides and in both directions."""
    rng = np.random.default_rng(5)
    clean = np.minimum(rng.geometric(0.7, n) - 1, n - 1)
    attacked = np.minimum(clean + rng.geometric(0.2, n) - 1, n - 1)

    def places(found: NDArray[np.int64]) -> dict[str, Any]:
        return {side: {way: found.tolist() for way in ("forward", "backward")} for side in SIDES}

    return {"attack": FIRST, "clean": places(clean), "crafted": {side: places(attacked) for side in SIDES}}


def pictures(rng: np.random.Generator, truths: Mapping[int, str]) -> list[dict[str, Any]]:
    """Thermal samples and their adversarial twins under their true labels, for the gallery."""
    modality = thermal(64)
    yy, xx = np.mgrid[:64, :64]
    shown = []
    for (sample, truth), (other, width) in zip(truths.items(), (("person", 6), ("car", 17), ("dog", 9)), strict=False):
        blob = np.exp(-(((xx - 32) / width) ** 2 + ((yy - 34) / 14) ** 2))
        clean = (0.15 + 0.7 * blob + 0.05 * rng.standard_normal((64, 64))).astype(np.float32)[None]
        change = rng.choice([-4 / 255, 4 / 255], (1, 64, 64)).astype(np.float32)
        after = other if other != truth else "background"
        item = {"sample": sample, "truth": truth, "before": truth, "after": after}
        shown.append({**item, **views(clean.clip(0, 1), (clean + change).clip(0, 1), modality)})
    return shown
