"""Every part of a stored report, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from advcal_edge.bundle import REPORT_SCHEMA, Bundle
from advcal_edge.errors import AdvcalError, BundleError
from advcal_edge.retrieval import TOP
from advcal_edge.verify.audit.details import curve_findings, drift_findings, flip_findings, matrix_findings
from advcal_edge.verify.audit.effort import effort_findings
from advcal_edge.verify.audit.finding import Finding, hold, unchecked
from advcal_edge.verify.audit.identities import identify
from advcal_edge.verify.audit.judgement import alone, judge
from advcal_edge.verify.audit.ladder import ladder_findings
from advcal_edge.verify.audit.optional import (
    doubts,
    gallery_findings,
    rebuild_findings,
    retrieval_findings,
    top5_findings,
)
from advcal_edge.verify.audit.recount import Evidence, recount
from advcal_edge.verify.audit.stated import Stated

T = TypeVar("T")

CLAIM = "observable decision equivalence on the stated inputs"


def audit(document: Mapping[str, Any], bundle: Bundle, engine: Path | None = None) -> list[Finding]:
    """Hold a report against `bundle`, against the file of its engine, and against itself.

    `engine` is the file of an engine that the bundle does not list. Nothing in the document or the bundle can confirm
    `seconds`, `seed`, `expectation`, the budget, queries, fingerprints, the numbers that checks took from the engine,
    the pictures, and the hits of rankings, rebuilds, curves and sources,
    and of a ladder the steps whose reports are gone.

    Raises:
        BundleError: another schema, a malformed document, or an engine that cannot be read.
    """
    report = Stated(document)
    if report["schema"].text() != REPORT_SCHEMA:
        raise BundleError(
            f"the report has schema `{report['schema'].text()[:60]}`; this version reads `{REPORT_SCHEMA}`",
            hint="verify again, or install the version of advcal-edge that wrote it",
        )
    evidence = Evidence.read(report)
    comparisons = evidence.comparisons()
    labels = readable(lambda: bundle.centers().labels)
    y = None if labels is None else readable(lambda: bundle.samples("probe.npz").y)
    truths = None if labels is None or y is None or len(y) < evidence.n else [labels[k] for k in y[: evidence.n]]
    findings = [*hold("claim", report["claim"], CLAIM), *identify(report, bundle, engine, labels)]
    if truths is None:
        why = "a bundle whose centers and samples can be read" if y is None else f"at most the {len(y)} of the bundle"
        findings.append(unchecked("true labels", report["samples"], why))
    findings += recount(report, evidence)
    findings += flip_findings(report, evidence, truths)
    findings += drift_findings(report, evidence.n)
    findings += effort_findings(report, evidence.routes)
    findings += parts(report, bundle, None if labels is None else len(labels))
    if report.has("matrix"):
        findings += matrix_findings(report, evidence)
    if report.has("curve"):
        findings += curve_findings(report, evidence.n)
    if report.has("retrieval"):
        findings += retrieval_findings(report, evidence)
    if report.has("top5"):
        findings += top5_findings(report, evidence, None if labels is None else len(labels))
    if report.has("rebuilds"):
        named = {item.name: item for item in comparisons}
        findings += rebuild_findings(report, named, alone(report, comparisons))
    if report.has("ladder"):
        findings += ladder_findings(report, bundle)
    findings += gallery_findings(report, evidence, truths)
    return [*findings, *judge(report, comparisons, doubts(report))]


def parts(report: Stated, bundle: Bundle, labels: int | None) -> list[Finding]:
    """Whether the parts that only some reports have are there where they must be, and only there."""
    paired = report["per_sample"]["comparisons"].has("recall@10 clean")
    wanted = {"retrieval": paired, "top5": report.has("top5") if labels is None else labels > TOP}
    if report["hashes"]["gradient"].value is not None:
        wanted |= {"matrix": True, "curve": True}
    return [
        Finding(name, "wrong", "there" if report.has(name) else "missing", "there" if there else "missing", name)
        for name, there in wanted.items()
        if report.has(name) is not there
    ]


def readable(read: Callable[[], T]) -> T | None:
    """What is read from the bundle, or None where the file is missing or damaged, which a finding of its own says."""
    try:
        return read()
    except AdvcalError:
        return None
