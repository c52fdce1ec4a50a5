"""Audit a stored report without running an attack: compare its hashes with the files, derive its conclusions again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from advcal_edge import limits
from advcal_edge.bundle import Bundle
from advcal_edge.documents import read_object
from advcal_edge.errors import AdvcalError, BundleError
from advcal_edge.manifest import MANIFEST
from advcal_edge.report.calibration import stated_figures
from advcal_edge.report.consistency import contradictions
from advcal_edge.report.derive import Judgement
from advcal_edge.report.measured import Measured
from advcal_edge.report.results import SIDES
from advcal_edge.report.terms import Terms
from advcal_edge.report.value import Value
from advcal_edge.report.whole import check_whole
from advcal_edge.runtime.engine import listed_digest
from advcal_edge.runtime.engine_file import graph_digest
from advcal_edge.runtime.metadata import EngineMetadata, metadata_path, read_metadata
from advcal_edge.runtime.tested import ADAPTER, TORCH, module_digest
from advcal_edge.runtime.weights import GRAPH, IR
from advcal_edge.storage import sha256_file
from advcal_edge.threat import NORMS
from advcal_edge.verify.census.audit import census_findings
from advcal_edge.verify.findings import Finding, compare, merge, ok, summary, unchecked, wrong
from advcal_edge.verify.options import VerifyOptions

T = TypeVar("T")
BACKWARD = "onnx/vjp."
FORWARD = "onnx/forward."
COMPARED = "reference/"
MODELS = (GRAPH, IR)
"""Suffixes of engines that may keep weights beside them, and that were built from no other file of the bundle."""


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


def engine_findings(measured: Value, bundle: Bundle, engine: Path | None) -> list[Finding]:
    """Compare the bytes of the engine: those of the file given, else of the file that the bundle lists."""
    stated, name = measured["engine"], measured["engine"]["path"].text()
    listed = bundle.has(name)
    findings = compare("engine", stated["listed"], listed)
    if engine is not None:
        try:
            digest, size = graph_digest(engine), engine.stat().st_size
        except (AdvcalError, OSError) as error:
            raise BundleError(f"cannot read the engine `{engine}`: {reason(error)}") from error
        findings += [*compare("engine", stated["sha256"], digest), *compare("engine", stated["bytes"], size)]
    elif listed:
        findings += compare_file("engine", stated["sha256"], bundle, name)
        path = bundle.path / name
        findings += compare("engine", stated["bytes"], path.stat().st_size) if path.is_file() else []
    else:
        findings.append(unchecked("engine", stated["sha256"], "an engine outside the bundle; give its file"))
    precision, step = (nested(bundle.manifest, "graphs", "files", name, key) for key in ("precision", "step"))
    if isinstance(precision, str):
        findings += compare("engine", stated["precision"], precision)
    if listed and (stated.get("step") is not None or isinstance(step, str)):
        stated_step = stated.get("step") or Value(None, f"{stated.path}.step")
        findings += compare("engine", stated_step, step if isinstance(step, str) else None)
    return merge(findings, ok("engine", stated["sha256"]))


def graph_findings(measured: Value, bundle: Bundle) -> list[Finding]:
    """Compare the ONNX graph: the engine itself, or one that the bundle lists."""
    stated, engine = measured["hashes"]["graph"], measured["engine"]["sha256"].text()
    if stated.text() == engine or measured["engine"]["path"].text().endswith(MODELS):
        return compare("graph", stated, engine)
    name = listed_name(bundle, stated.text(), FORWARD if bundle.comparison is None else COMPARED)
    if name is None:
        return [unchecked("graph", stated, "a graph that the bundle does not list")]
    return compare_file("graph", stated, bundle, name)


def plan_findings(measured: Value, bundle: Bundle) -> list[Finding]:
    """Compare the plan's metadata in the report, and hashes that the report repeats elsewhere."""
    engine, hashes, plan = measured["engine"], measured["hashes"], measured["engine"].get("plan")
    if plan is None:
        return []
    findings = compare("plan", plan["graph_sha256"], hashes["graph"].text())
    if plan["backward_sha256"].value is not None:
        findings += compare("plan", plan["backward_sha256"], hashes["gradient"].text())
    metadata = listed_metadata(bundle, Path(engine["path"].text()))
    if metadata is None:
        return [*findings, unchecked("plan", plan["graph"], "a plan whose metadata the bundle does not list")]
    for key, value in metadata.in_report().items():
        findings += compare("plan", plan[key], value)
    findings += compare("plan", engine["precision"], metadata.achieved)
    return merge(findings, ok("plan", plan["graph_sha256"]))


def listed_metadata(bundle: Bundle, plan: Path) -> EngineMetadata | None:
    """The metadata of a plan if the bundle lists them, else None."""
    name = metadata_path(plan).as_posix()
    if not bundle.has(name):
        return None
    try:
        return read_metadata(bundle.file(name).with_suffix(plan.suffix))
    except AdvcalError as error:
        raise BundleError(error.message, hint=error.hint) from error


def gradient_findings(measured: Value, bundle: Bundle) -> list[Finding]:
    """Compare the backward graph of the bundle or the weights of its torch module, if the engine had a gradient."""
    stated, source = measured["hashes"]["gradient"], measured["engine"].get("gradient_from")
    if stated.value is None:
        return [ok("gradient", stated)]
    if source is not None and source.value == TORCH:
        digest = readable(lambda: module_digest(bundle))
        if digest is None:
            return [unchecked("gradient", stated, "a bundle with an encoder and an adapter")]
        return merge(compare_adapter(stated, digest, bundle), ok("gradient", stated))
    name = listed_name(bundle, stated.text(), BACKWARD) or listed_name(bundle, stated.text(), "engines/")
    if name is not None:
        return compare_file("gradient", stated, bundle, name)
    names = [name for name in bundle.manifest["files"] if name.startswith(BACKWARD)]
    if not names:
        return [unchecked("gradient", stated, "a bundle without a backward graph")]
    return compare("gradient", stated, listed_digest(bundle, names[0]))


def compare_adapter(stated: Value, digest: str, bundle: Bundle) -> list[Finding]:
    """Compare the weights of the torch module, by the manifest, and the adapter's file with the manifest."""
    if not bundle.has(ADAPTER):
        return compare("gradient", stated, digest)
    listed = bundle.manifest["files"][ADAPTER]["sha256"]
    adapter = compare_file("gradient", Value(listed, stated.path), bundle, ADAPTER)
    return [*compare("gradient", stated, digest), *adapter]


def reference_findings(measured: Value, bundle: Bundle) -> list[Finding]:
    """Compare the graph that served as the reference, if the reference was a graph."""
    stated = measured["reference"].get("sha256")
    if stated is None:
        return []
    name = listed_name(bundle, stated.text(), FORWARD if bundle.comparison is None else COMPARED)
    if name is None:
        return [wrong("reference", stated, "a graph that the bundle lists")]
    return compare_file("reference", stated, bundle, name)


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


def compare_file(name: str, stated: Value, bundle: Bundle, file: str) -> list[Finding]:
    """Compare a hash with a listed file, weights beside a graph included; each must be as the manifest says."""
    try:
        path = bundle.file(file)
        digest = graph_digest(path) if path.suffix in MODELS else sha256_file(path)
    except (AdvcalError, OSError) as error:
        return [Finding(name, "wrong", stated.text()[:64], reason(error), stated.path)]
    return compare(name, stated, digest)


def listed_name(bundle: Bundle, sha256: str, prefix: str) -> str | None:
    """The listed file with this hash whose name begins with `prefix`."""
    names = (name for name in bundle.manifest["files"] if name.startswith(prefix))
    return next((name for name in names if listed_digest(bundle, name) == sha256), None)


def nested(data: object, *keys: str) -> object:
    """The value at the end of `keys`, or None."""
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def readable(read: Callable[[], T]) -> T | None:
    """Read from the bundle; None if the file is missing or damaged, which another finding reports."""
    try:
        return read()
    except AdvcalError:
        return None


def reason(error: AdvcalError | OSError) -> str:
    """The error as a sentence."""
    return error.message if isinstance(error, AdvcalError) else error.strerror or str(error)
