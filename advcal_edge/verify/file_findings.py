"""Compare a report with the files of its bundle: engine, graph, plan, gradient, reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from advcal_edge.bundle import Bundle
from advcal_edge.errors import AdvcalError, BundleError
from advcal_edge.report.value import Value
from advcal_edge.runtime.engine import listed_digest
from advcal_edge.runtime.engine_file import graph_digest
from advcal_edge.runtime.metadata import EngineMetadata, metadata_path, read_metadata
from advcal_edge.runtime.tested import ADAPTER, TORCH, module_digest
from advcal_edge.runtime.weights import GRAPH, IR
from advcal_edge.storage import sha256_file
from advcal_edge.verify.findings import Finding, compare, merge, ok, unchecked, wrong

T = TypeVar("T")
BACKWARD = "onnx/vjp."
FORWARD = "onnx/forward."
COMPARED = "reference/"
MODELS = (GRAPH, IR)
"""Suffixes of engines that may keep weights beside them, and that were built from no other file of the bundle."""


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
