"""Every figure of a document, counted from flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sample_flags import FIRST, ROUTES, SOURCES, Flags, Outcome, Route

from advcal_edge.stats import clopper_pearson, mcnemar, newcombe, samples_to_decide, tango, wilson

SIDES = ("reference", "engine")
DEPTHS = (1, 5, 10)
EPS = (0.0, 0.5 / 255, 1 / 255, 2 / 255, 4 / 255, 8 / 255, 16 / 255, 64 / 255, 1.0)


def text(flags: Flags) -> str:
    """One character a sample."""
    return "".join("01"[int(flag)] for flag in flags)


def share(flags: Flags) -> dict[str, Any]:
    """Hits with both intervals."""
    hits, n = int(flags.sum()), len(flags)
    return {
        "hits": hits,
        "n": n,
        "accuracy": hits / n,
        "interval": wilson(hits, n).to_json(),
        "exact": clopper_pearson(hits, n).to_json(),
    }


def comparison(name: str, reference: Flags, engine: Flags, margin: float, decides: bool) -> dict[str, Any]:
    """One row of `comparisons`."""
    n, both = len(reference), int((reference & engine).sum())
    lost, gained = int((reference & ~engine).sum()), int((engine & ~reference).sum())
    interval = tango(lost, gained, n)
    verdict = "pass" if interval.high < margin else "fail" if interval.low > margin else "inconclusive"
    return {
        "name": name,
        "n": n,
        "reference": share(reference),
        "engine": share(engine),
        "only_reference": lost,
        "only_engine": gained,
        "drop": (lost - gained) / n,
        "interval": interval.to_json(),
        "newcombe": newcombe(lost, gained, both, n).to_json(),
        "mcnemar": mcnemar(lost, gained),
        "margin": margin,
        "verdict": verdict,
        "decides": decides,
        "samples_to_decide": samples_to_decide(lost, gained, n, margin) if verdict == "inconclusive" else None,
    }


def route(item: Route) -> dict[str, Any]:
    """One row of `routes`."""
    return {
        "route": item.route,
        "attack": item.attack,
        "crafted_on": item.crafted_on,
        "attacked": int(item.attacked.sum()),
        "fools_reference": int(item.fools["reference"].sum()),
        "fools_engine": int(item.fools["engine"].sum()),
        "engine_among_attacked": share(~item.fools["engine"][item.attacked]) if item.attacked.any() else None,
        "queries_mean": item.queries,
    }


def matrix(rng: np.random.Generator, found: Outcome) -> dict[str, Any]:
    """The first attack, crafted on each model and judged on each; what sources think of it is drawn at random."""
    names = [*SIDES, *SOURCES]
    clean = {**found.clean, **dict.fromkeys(SOURCES, found.clean["reference"])}
    rows = []
    for crafted_on in names:
        item = next(i for i in found.routes if i.attack == repr(FIRST) and i.crafted_on == crafted_on)
        withstood = [~item.fools[side] for side in SIDES]
        withstood += [~item.fools["reference"] | (rng.random(len(item.attacked)) < 0.2) for _ in SOURCES]
        rows.append([share(clean[name] & flags) for name, flags in zip(names, withstood, strict=True)])
    return {"attack": repr(FIRST), "crafted_on": names, "judged_on": names, "robust": rows}


def flips(labels: Sequence[str], truths: NDArray[np.int64], found: Outcome) -> list[dict[str, Any]]:
    """Samples on which the sides differ."""
    rows = []
    for name, sides in (("clean", found.clean), ("worst case", {s: found.withstood(s, *ROUTES) for s in SIDES})):
        for sample in np.flatnonzero(sides["reference"] != sides["engine"]).tolist():
            lost_on = "engine" if sides["reference"][sample] else "reference"
            rows.append(
                {
                    "sample": sample,
                    "truth": labels[int(truths[sample])],
                    "comparison": name,
                    "lost_on": lost_on,
                    "found_by": found.found_by(sample, lost_on),
                }
            )
    return rows


def curve(rng: np.random.Generator, clean: Flags, scale: float) -> dict[str, Any]:
    """Accuracy against the radius on the first samples, falling to nothing."""
    right = clean[:100]
    room = scale * rng.lognormal(0, 0.8, len(right))  # the radius that each sample withstands
    points = []
    for eps in EPS:
        correct = int((right & (room > eps)).sum()) if eps < 1 else 0
        interval = wilson(correct, len(right)).to_json()
        points.append({"eps": eps, "correct": correct, "accuracy": correct / len(right), "interval": interval})
    return {"attack": "PGD(steps=20, loss='margin')", "samples": len(right), "points": points}


def rankings(n: int) -> dict[str, NDArray[np.int64]]:
    """Places of the truth in a ranking, clean and under attack, alike on either side but for a few."""
    rng = np.random.default_rng(5)
    ranks = rng.geometric(0.7, n) - 1
    return {"clean": ranks, "attacked": ranks + rng.geometric(0.2, n) - 1}


def retrieval(ranks: Mapping[str, NDArray[np.int64]]) -> dict[str, Any]:
    """`retrieval` for the same ranks on either side and in either direction."""
    found = {
        state: {
            side: {
                direction: {f"recall@{k}": share(places < k) for k in DEPTHS} for direction in ("forward", "backward")
            }
            for side in SIDES
        }
        for state, places in ranks.items()
    }
    attacks = [{"attack": repr(FIRST), "crafted_on": side} for side in SIDES]
    return {"gallery": len(ranks["clean"]), "attacks": attacks, **found}


def top_five(found: Outcome, labels: int) -> dict[str, Any]:
    """`top5`: somewhat more than the first place."""
    worst = {side: found.withstood(side, *ROUTES) for side in SIDES}
    extra = np.random.default_rng(6).random(len(worst["engine"])) < 0.6
    return {
        "labels": labels,
        "clean": {side: share(found.clean[side] | extra) for side in SIDES},
        "worst case": {side: share(worst[side] | (extra & found.clean[side])) for side in SIDES},
    }


def rebuilds(document: Mapping[str, Any], worst_hits: Sequence[int]) -> dict[str, Any]:
    """The engine of a document and further builds with so many samples right in the worst case."""
    by_name = {item["name"]: item for item in document["comparisons"]}
    clean, worst = by_name["clean"], by_name["worst case"]
    n = worst["n"]
    builds = [
        {
            "sha256": document["engine"]["sha256"],
            "verdict": document["verdict"],
            "clean_drop": clean["drop"],
            "worst_case": worst["engine"],
            "worst_case_drop": worst["drop"],
        }
    ]
    for k, hits in enumerate(worst_hits):
        found = share(np.arange(n) < hits)
        builds.append(
            {
                "sha256": f"{k + 1:x}" * 64,
                "verdict": "pass",
                "clean_drop": clean["drop"],
                "worst_case": found,
                "worst_case_drop": worst["reference"]["accuracy"] - found["accuracy"],
            }
        )
    accuracies = [build["worst_case"]["accuracy"] for build in builds]
    return {
        "asked": len(worst_hits),
        "distinct": len(builds),
        "builds": builds,
        "spread": max(accuracies) - min(accuracies),
    }
