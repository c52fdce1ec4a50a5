"""Rankings, rebuilds and pictures of a report: what of them agrees with the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from advcal_edge.verify.audit.details import consistent
from advcal_edge.verify.audit.finding import Finding, hold, merged, ok, wrong
from advcal_edge.verify.audit.recount import SIDES, Evidence, share
from advcal_edge.verify.audit.stated import Stated
from advcal_edge.verify.comparison import Comparison

DEPTHS = ("recall@1", "recall@5", "recall@10")


def retrieval_findings(report: Stated, evidence: Evidence) -> list[Finding]:
    """Shares of all pairs that grow with depth and fall under attack; recall@10 forward is in the flags too.

    Raises:
        BundleError: malformed.
    """
    stated = report["retrieval"]
    findings = hold("retrieval", stated["gallery"], evidence.n)
    for side in SIDES:
        for direction in ("forward", "backward"):
            hits: dict[str, list[int]] = {}
            for state in ("clean", "attacked"):
                cells = [stated[state][side][direction][depth] for depth in DEPTHS]
                findings += [item for cell in cells for item in consistent("retrieval", cell, evidence.n)]
                hits[state] = [cell["hits"].integer() for cell in cells]
                if any(a > b for a, b in pairwise(hits[state])):
                    findings.append(wrong("retrieval", stated[state][side][direction], "hits that grow with depth"))
            if any(a > b for a, b in zip(hits["attacked"], hits["clean"], strict=True)):
                findings.append(wrong("retrieval", stated["attacked"][side][direction], "at most the clean hits"))
        for state in ("clean", "attacked"):
            flags = evidence.recall.get(f"recall@10 {state}")
            if flags is None:
                raise report["per_sample"]["comparisons"].malformed(f"lacks `recall@10 {state}`")
            findings += hold("retrieval", stated[state][side]["forward"]["recall@10"], share(flags[side]))
    return merged(findings, ok("retrieval", stated["gallery"]))


def top5_findings(report: Stated, evidence: Evidence, labels: int | None) -> list[Finding]:
    """Shares of all samples, no less than of the first place, no more under attack than clean; of so many `labels`.

    Raises:
        BundleError: malformed.
    """
    stated = report["top5"]
    findings = hold("top5", stated["labels"], stated["labels"].integer() if labels is None else labels)
    for side in SIDES:
        first = {"clean": evidence.clean[side], "worst case": evidence.withstood(side)}
        for name, flags in first.items():
            findings += consistent("top5", stated[name][side], evidence.n)
            if stated[name][side]["hits"].integer() < flags.sum():
                findings.append(
                    wrong("top5", stated[name][side]["hits"], f"at least the {flags.sum()} of the first place")
                )
        if stated["worst case"][side]["hits"].integer() > stated["clean"][side]["hits"].integer():
            findings.append(wrong("top5", stated["worst case"][side]["hits"], "at most the clean hits"))
    return merged(findings, ok("top5", stated["labels"]))


def rebuild_findings(report: Stated, comparisons: Mapping[str, Comparison], verdict: str) -> list[Finding]:
    """The first build is the one of this report, with the `verdict` it has by itself; spread and numbers follow.

    Raises:
        BundleError: malformed.
    """
    stated = report["rebuilds"]
    builds, worst = stated["builds"].items(), comparisons["worst case"]
    if not builds:
        raise stated["builds"].malformed("is empty")
    own: dict[str, Any] = {
        "sha256": report["engine"]["sha256"].text(),
        "verdict": verdict,
        "clean_drop": comparisons["clean"].drop,
        "worst_case": share(worst.engine),
        "worst_case_drop": worst.drop,
    }
    findings = hold("rebuilds", builds[0], own)
    for build in builds[1:]:
        if build["sha256"].text() == own["sha256"]:
            findings += hold("rebuilds", build, own)
        else:
            findings += consistent("rebuilds", build["worst_case"], len(worst.engine))
            findings += hold("rebuilds", build["clean_drop"], build["clean_drop"].number())
            findings += hold("rebuilds", build["worst_case_drop"], build["worst_case_drop"].number())
    accuracies = [build["worst_case"]["accuracy"].number() for build in builds]
    findings += hold("rebuilds", stated["spread"], max(accuracies) - min(accuracies))
    findings += hold("rebuilds", stated["asked"], len(builds) - 1)
    findings += hold("rebuilds", stated["distinct"], len({build["sha256"].text() for build in builds}))
    return merged(findings, ok("rebuilds", stated["spread"]))


def doubts(report: Stated) -> list[str]:
    """Reasons that other builds give: their verdicts differ."""
    if not report.has("rebuilds"):
        return []
    verdicts = [build["verdict"].text() for build in report["rebuilds"]["builds"].items()]
    differ = len(set(verdicts)) > 1
    return [f"builds of this engine differ in their verdict: {', '.join(verdicts)}"] if differ else []


def gallery_findings(report: Stated, evidence: Evidence, truths: Sequence[str] | None) -> list[Finding]:
    """Samples that the engine is fooled on, under their true labels; nobody can say whether the pictures are theirs.

    Raises:
        BundleError: malformed.
    """
    stated, findings = report["gallery"].items(), []
    fooled = np.zeros(evidence.n, np.bool_)
    for route in evidence.routes:
        fooled |= route.fools["engine"]
    for item in stated:
        sample, truth = item["sample"].integer(), item["truth"].text()
        if sample >= evidence.n or not fooled[sample]:
            findings.append(wrong("gallery", item["sample"], "a sample on which the engine is fooled"))
        elif truths is not None and truth != truths[sample]:
            findings.append(wrong("gallery", item["truth"], truths[sample]))
        if item["after"].text() == truth:
            findings.append(wrong("gallery", item["after"], "another label than the true one"))
    return merged(findings, ok("gallery", report["gallery"]))
