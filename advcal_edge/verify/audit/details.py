"""Flips, drift, matrix and curves of a report: counted from its flags, or held against themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from advcal_edge.stats import wilson
from advcal_edge.verify.audit.finding import Finding, hold, merged, ok, wrong
from advcal_edge.verify.audit.recount import SIDES, Evidence, share, share_of
from advcal_edge.verify.audit.stated import Stated

ROUNDING = 2e-5  # of drift and margin, which the document holds with six digits


def flip_findings(report: Stated, evidence: Evidence, truths: Sequence[str] | None) -> list[Finding]:
    """Who flips, where, and what found it first; labels are compared where `truths` are at hand.

    Raises:
        BundleError: malformed.
    """
    stated = report["flips"].items()
    expected = [flip for name in ("clean", "worst case") for flip in flips(evidence, name)]
    for found, flip in zip(stated, expected, strict=False):
        flip["truth"] = found["truth"].text() if truths is None else truths[flip["sample"]]
    for flip in expected[len(stated) :]:
        flip["truth"] = ""
    return hold("flips", report["flips"], expected)


def flips(evidence: Evidence, name: str) -> Iterator[dict[str, Any]]:
    """Samples on which the sides of one comparison differ."""
    held = evidence.clean if name == "clean" else {side: evidence.withstood(side) for side in SIDES}
    for sample in np.flatnonzero(held["reference"] != held["engine"]).tolist():
        side = "reference" if held["engine"][sample] else "engine"
        found_by = None
        if evidence.clean[side][sample]:
            first = next(item for item in evidence.routes if item.fools[side][sample])
            found_by = f"{first.route}: {first.attack}, crafted on {first.crafted_on}"
        yield {"sample": sample, "truth": "", "comparison": name, "lost_on": side, "found_by": found_by}


def drift_findings(report: Stated, n: int) -> list[Finding]:
    """Near ties, counted again; those that rounding may turn are left to the document.

    Raises:
        BundleError: malformed.
    """
    stated = report["drift"]
    change, margin = (
        np.array([value.number() for value in stated[name].items()], np.float64) for name in ("change", "margin")
    )
    if not len(change) == len(margin) == n:
        raise stated.malformed(f"has {len(change)} changes and {len(margin)} margins; expected {n} of each")
    listed = stated["near_tie_samples"]
    named = sorted(value.integer() for value in listed.items())
    sure, open_ = 2 * change >= margin, np.abs(2 * change - margin) <= ROUNDING * margin
    claimed = set(named)
    expected = [k for k in range(n) if (k in claimed if open_[k] else sure[k])]
    findings = hold("near ties", Stated(named, listed.path), expected)  # a report may list the nearest first
    findings += hold("number of near ties", stated["near_ties"], len(expected))
    least, mean = stated["cosine_min"].number(), stated["cosine_mean"].number()
    if not -1 - ROUNDING <= least <= mean + ROUNDING or mean > 1 + ROUNDING or min(change) < 0 or min(margin) < 0:
        findings.append(
            Finding("drift", "wrong", f"least {least:.6g}, mean {mean:.6g}", "-1 <= least <= mean <= 1", "drift")
        )
    return findings


def matrix_findings(report: Stated, evidence: Evidence) -> list[Finding]:
    """Cells on reference and engine from flags; what sources judged agrees with itself only.

    Raises:
        BundleError: malformed.
    """
    stated = report["matrix"]
    known = [*SIDES, *(item["name"].text() for item in report["sources"].items())]
    crafted_on, judged_on = ([item.text() for item in stated[key].items()] for key in ("crafted_on", "judged_on"))
    rows, attack = [row.items() for row in stated["robust"].items()], stated["attack"].text()
    if len(rows) != len(crafted_on) or any(len(row) != len(judged_on) for row in rows):
        raise stated.malformed(f"has other cells than {len(crafted_on)} rows of {len(judged_on)}")
    findings = []
    for key, names in (("crafted_on", crafted_on), ("judged_on", judged_on)):
        if len(set(names)) < len(names) or set(names) - set(known):
            findings.append(wrong("matrix", stated[key], f"each once, of {', '.join(known)}"))
    routes = {route.crafted_on: route for route in reversed(evidence.routes) if route.attack == attack}  # the first
    for name, row in zip(crafted_on, rows, strict=True):
        route = routes.get(name)
        if route is None:
            findings.append(
                Finding("matrix", "wrong", f"{attack}, crafted on {name}", "one of the routes", stated.path)
            )
            continue
        for judge, cell in zip(judged_on, row, strict=True):
            if judge in SIDES:
                findings += hold("matrix", cell, share(evidence.clean[judge] & ~route.fools[judge]))
            else:
                findings += consistent("matrix", cell, evidence.n)
    return merged(findings, ok("matrix", stated["attack"]))


def curve_findings(report: Stated, n: int) -> list[Finding]:
    """Radii that ascend from 0, and intervals of the counts.

    Raises:
        BundleError: malformed.
    """
    findings = []
    for side in SIDES:
        stated = report["curve"][side]
        samples, points = stated["samples"].integer(), stated["points"].items()
        radii = [point["eps"].number() for point in points]
        if not 0 < samples <= n:
            raise stated["samples"].expected(f"a number of samples from 1 to {n}")
        if len(radii) < 2 or radii[0] != 0 or sorted(set(radii)) != radii:
            findings.append(wrong("curve", stated["points"], "radii that ascend from 0"))
        if points and report["threat"]["norm"].text() == "linf":
            findings += hold("curve", points[-1]["eps"], 1.0)
        for point in points:
            correct = point["correct"].integer()
            if correct > samples:
                findings.append(wrong("curve", point["correct"], f"at most {samples}"))
                continue
            interval = wilson(correct, samples).to_json()
            expected = {"correct": correct, "accuracy": correct / samples, "interval": interval}
            findings += hold("curve", point, {"eps": point["eps"].number(), **expected})
    if report["curve"].object().keys() != set(SIDES):
        raise report["curve"].expected("an object of reference and engine")
    return merged(findings, ok("curve", report["curve"]))


def consistent(name: str, stated: Stated, n: int) -> list[Finding]:
    """A share whose hits nothing confirms: it is of all `n` samples, and its intervals are those of its hits."""
    hits = stated["hits"].integer()
    if hits > n:
        return [wrong(name, stated["hits"], f"at most {n}")]
    return hold(name, stated, share_of(hits, n))
