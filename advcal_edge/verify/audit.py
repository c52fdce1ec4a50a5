"""Audit a stored report without running an attack: compare its hashes with the files, derive its conclusions again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from advcal_edge import limits
from advcal_edge.bundle import Bundle
from advcal_edge.documents import read_object
from advcal_edge.errors import BundleError
from advcal_edge.manifest import MANIFEST
from advcal_edge.report.calibration import stated_figures
from advcal_edge.report.consistency import contradictions
from advcal_edge.report.derive import Judgement
from advcal_edge.report.measured import Measured
from advcal_edge.report.results import SIDES
from advcal_edge.report.terms import Terms
from advcal_edge.report.value import Value
from advcal_edge.report.whole import check_whole
from advcal_edge.threat import NORMS
from advcal_edge.verify.census.audit import census_findings
from advcal_edge.verify.file_findings import (
    compare_file,
    engine_findings,
    gradient_findings,
    graph_findings,
    listed_name,
    nested,
    plan_findings,
    readable,
    reference_findings,
)
from advcal_edge.verify.findings import Finding, compare, merge, ok, summary, unchecked, wrong
from advcal_edge.verify.options import VerifyOptions


def audit(
    document: Mapping[str, Any], bundle: Bundle, engine: Path | None = None, terms: Terms | None = None
) -> list[Finding]:
    """Compare a report with `bundle`, with the file of its engine, and its conclusions with its measurements.

    `engine` is the file of an engine that the bundle does not list. A report that passed must have done so on `terms`,
    by default those on which the runtime accepts it; one that did not pass claims nothing. The measurements themselves
    cannot be confirmed: ranks, seed, seconds, fingerprints, the numbers that checks took from the engine, layers
    of a plan, pictures.

    Raises:
        BundleError: another schema, a malformed document, or an engine that cannot be read.
    """
    report = Value(document)
    check_whole(report)
    measured = report["measured"]
    read = Measured.read(measured)
    judgement = Judgement.of(read)
    contradicted = [wrong("measured", value, expected) for value, expected in contradictions(measured, read)]
    return [
        *engine_findings(measured, bundle, engine),
        *graph_findings(measured, bundle),
        *plan_findings(measured, bundle),
        *gradient_findings(measured, bundle),
        *census_findings(measured, bundle, engine),
        *figure_findings(measured["calibration"], bundle),
        *compare("bundle", measured["hashes"]["bundle"], bundle.origin()),
        *compare_file("data", measured["hashes"]["data"], bundle, "probe.npz"),
        *compare_file("centers", measured["hashes"]["centers"], bundle, "centers.safetensors"),
        *reference_findings(measured, bundle),
        *threat_findings(measured, bundle),
        *label_findings(measured, bundle),
        *context_findings(measured["context"], bundle),
        *(fallback_findings(measured["fallback"], bundle, read.engine) if read.fallback is not None else []),
        *merge(contradicted, ok("measured", measured)),
        *(term_findings(measured, read, terms or Terms(bundle.threat)) if judgement.verdict == "pass" else []),
        *derived_findings(report["derived"], judgement),
    ]


def terms_of(bundle: Bundle, options: VerifyOptions) -> Terms:
    """The terms that options of `verify` ask for.

    Raises:
        ConfigError: an unknown norm or loss, or no radius.
    """
    losses = None if options.losses is None else options.budget().losses
    return Terms(options.threat(bundle), options.margin, losses, options.per_class_margin)


def term_findings(measured: Value, read: Measured, terms: Terms) -> list[Finding]:
    """Whether a passing report counts: threat model, margin, budget and number of samples."""
    laxer = [wrong("terms", value, expected) for value, expected in terms.unmet(measured, read)]
    return merge(laxer, ok("terms", measured["margin"]))


def derived_findings(stated: Value, judgement: Judgement) -> list[Finding]:
    """Compare every conclusion of the report with those derived again; one finding per part, or one per difference."""
    expected = judgement.to_json()
    findings = [] if stated.object().keys() == expected.keys() else [wrong("derived", stated, expected)]
    for name in expected.keys() & stated.object().keys():
        findings += compare(name, stated[name], expected[name])
    order = {f"derived.{name}": k for k, name in enumerate(expected)}
    return sorted(findings, key=lambda item: order.get(".".join(item.where.split("[")[0].split(".")[:2]), 0))


def threat_findings(measured: Value, bundle: Bundle) -> list[Finding]:
    """Compare the bounds with the bundle's; norm and radius, which are options of a run, with those of the curves."""
    stated, threat, curves = measured["threat"], bundle.threat, measured.get("curve")
    norm, eps = NORMS[stated["norm"].choice(tuple(NORMS))], stated["eps"]
    findings = compare("threat", stated["bounds"], [float(bound) for bound in bundle.modality.input.bounds])
    if curves is not None:
        farthest = replace(threat, norm=norm).farthest(bundle.modality.input.shape)
        for side in SIDES:
            findings += compare("threat", curves[side]["points"].items()[-1]["eps"], farthest)
    elif norm != threat.norm or eps.number() != threat.eps:
        findings.append(unchecked("threat", eps, f"no curve, and another ball than the bundle's {threat}"))
    return merge(findings, ok("threat", eps))


def figure_findings(stated: Value, bundle: Bundle) -> list[Finding]:
    """Compare the figures that the report holds the reference against with those of the manifest."""
    try:
        figures = stated_figures(bundle.manifest, f"`{bundle.path / MANIFEST}`")
    except BundleError as error:
        return [Finding("figures", "wrong", summary(stated.value), error.message, stated.path)]
    if figures is None or stated.value is None:
        return compare("figures", stated, figures)
    return [item for name, figure in figures.items() for item in compare("figures", stated[name], figure)]


def label_findings(measured: Value, bundle: Bundle) -> list[Finding]:
    """Compare labels with those of the centers, and true labels with those of the probe."""
    centers, y = readable(bundle.centers), readable(lambda: bundle.samples("probe.npz").y)
    truth, n = measured["truth"], len(measured["truth"].items())
    findings = [] if centers is None else compare("labels", measured["labels"], list(centers.labels))
    if y is None or len(y) < n:
        why = "a bundle whose samples can be read" if y is None else f"at most the {len(y)} samples of the bundle"
        return [*findings, unchecked("true labels", truth, why)]
    return [*findings, *compare("true labels", truth, y[:n].tolist())]


def context_findings(stated: Value, bundle: Bundle) -> list[Finding]:
    """Compare the fields of the context that repeat the manifest."""
    findings, files = [], bundle.manifest["files"]
    for name in stated.object():
        if name == "hashes":
            for file in stated[name].object():
                if file not in files:
                    findings.append(unchecked("context", stated[name][file], "a file that the bundle does not list"))
                else:
                    findings += compare("context", stated[name][file], files[file]["sha256"])
        elif name in bundle.manifest and stated[name].value != bundle.manifest[name]:
            findings.append(wrong("context", stated[name], bundle.manifest[name]))
    return merge(findings, ok("context", stated))


def fallback_findings(stated: Value, bundle: Bundle, engine: str) -> list[Finding]:
    """Compare earlier steps of the precision fallback with their reports, as far as the bundle still has them.

    The nodes that stay fp32 are those that the manifest lists for the graph with the hash `engine`.
    """
    findings: list[Finding] = []
    graph, kept = listed_name(bundle, engine, "onnx/forward"), stated.get("kept")
    if graph is not None and kept is not None:
        entry = bundle.section("graphs").get("files", {}).get(graph, {})
        findings += compare("fallback", kept, entry.get("kept", []))
    for step in stated["earlier"].items():
        derived = None if step["engine"].value is None else stored(bundle, step["engine"].text())
        if derived is not None:
            reasons = derived.get("reasons")
            findings += compare("fallback", step["verdict"], str(derived.get("verdict")))
            findings += compare("fallback", step["reasons"], [*map(str, reasons if isinstance(reasons, list) else [])])
    return merge(findings, ok("fallback", stated["asked"]))


def stored(bundle: Bundle, sha256: str) -> Mapping[str, Any] | None:
    """What the report of an engine in the bundle derived, or None if no report can be read."""
    name = f"reports/{sha256[:8]}/report.json"
    if not bundle.has(name):
        return None
    report = readable(lambda: read_object(bundle.file(name), limits.REPORT_BYTES, BundleError))
    derived = nested(report, "derived")
    return derived if isinstance(derived, dict) and nested(report, "measured", "engine", "sha256") == sha256 else None
