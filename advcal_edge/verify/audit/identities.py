"""Hashes of a report, held against the bundle and the engine on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from advcal_edge.bundle import Bundle
from advcal_edge.errors import AdvcalError, BundleError
from advcal_edge.storage import canonical, sha256_bytes, sha256_file
from advcal_edge.threat import NORMS
from advcal_edge.verify.audit.finding import Finding, hold, merged, ok, unchecked, wrong
from advcal_edge.verify.audit.plan import plan_findings
from advcal_edge.verify.audit.stated import Stated

BACKWARD = "onnx/vjp."


def identify(report: Stated, bundle: Bundle, engine: Path | None, labels: Sequence[str] | None) -> list[Finding]:
    """Engine, graph, gradient, bundle, data, centers, environment, and what the context repeats of the manifest.

    `labels` are those of the centers, None where these are damaged.

    Raises:
        BundleError: malformed, or `engine` cannot be read.
    """
    hashes = report["hashes"]
    return [
        *engine_findings(report, bundle, engine),
        *graph_findings(report, bundle),
        *plan_findings(report, bundle),
        *gradient_findings(report, bundle),
        *hold("bundle", hashes["bundle"], bundle.identity()),
        *on_disk("data", hashes["data"], bundle, "probe.npz"),
        *on_disk("centers", hashes["centers"], bundle, "centers.safetensors"),
        *environment_findings(report),
        *reference_findings(report, bundle),
        *threat_findings(report, bundle),
        *context_findings(report["context"], bundle, labels),
    ]


def engine_findings(report: Stated, bundle: Bundle, engine: Path | None) -> list[Finding]:
    """The bytes of the engine: those of the file given, else of the file that the bundle lists."""
    stated, name = report["engine"], report["engine"]["path"].text()
    findings = hold("engine", report["hashes"]["engine"], stated["sha256"].text())
    entry = bundle.manifest["files"].get(name)
    findings += hold("engine", stated["listed"], entry is not None)
    if engine is not None:
        try:
            found, size = sha256_file(engine), engine.stat().st_size
        except OSError as error:
            raise BundleError(f"cannot read the engine `{engine}`: {error.strerror or error}") from error
        findings += [*hold("engine", stated["sha256"], found), *hold("engine", stated["bytes"], size)]
    elif entry is not None:
        findings += on_disk("engine", stated["sha256"], bundle, name)
        path = bundle.path / name
        findings += hold("engine", stated["bytes"], path.stat().st_size) if path.is_file() else []
    else:
        findings.append(unchecked("engine", stated["sha256"], "an engine outside the bundle; give its file"))
    told = nested(bundle.manifest, "graphs", "files", name, "precision")
    if isinstance(told, str):
        findings += hold("engine", stated["precision"], told)
    step = nested(bundle.manifest, "graphs", "files", name, "step")
    if entry is not None and (stated.has("step") or isinstance(step, str)):
        stated_step = stated["step"] if stated.has("step") else Stated(None, f"{stated.path}.step")
        findings += hold("engine", stated_step, step if isinstance(step, str) else None)
    return merged(findings, ok("engine", stated["sha256"]))


def graph_findings(report: Stated, bundle: Bundle) -> list[Finding]:
    """The ONNX file: the engine itself, or one that the bundle lists."""
    stated, engine = report["hashes"]["graph"], report["engine"]["sha256"].text()
    if stated.text() == engine or report["engine"]["path"].text().endswith(".onnx"):
        return hold("graph", stated, engine)
    name = listed(bundle, stated.text(), "onnx/forward.")
    if name is None:
        return [unchecked("graph", stated, "a graph that the bundle does not list")]
    return on_disk("graph", stated, bundle, name)


def gradient_findings(report: Stated, bundle: Bundle) -> list[Finding]:
    """The backward graph of the bundle, where the engine had one."""
    stated, fingerprint = report["hashes"]["gradient"], report["engine"]["gradient"]
    if stated.value is None or fingerprint.value is None:
        return hold("gradient", stated, None) if fingerprint.value is None else [wrong("gradient", stated, "a hash")]
    fingerprint.text()
    name = listed(bundle, stated.text(), BACKWARD) or listed(bundle, stated.text(), "engines/")
    if name is not None:
        return on_disk("gradient", stated, bundle, name)
    names = [name for name in bundle.manifest["files"] if name.startswith(BACKWARD)]
    if not names:
        return [unchecked("gradient", stated, "a bundle without a backward graph")]
    return hold("gradient", stated, bundle.manifest["files"][names[0]]["sha256"])


def environment_findings(report: Stated) -> list[Finding]:
    """The hash of the environment that the document itself holds."""
    environment = {name: report["environment"][name].text() for name in report["environment"].object()}
    return hold("environment", report["hashes"]["environment"], sha256_bytes(canonical(environment)))


def reference_findings(report: Stated, bundle: Bundle) -> list[Finding]:
    """The graph that served as the reference, where it was one."""
    if not report["reference"].has("sha256"):
        return []
    stated = report["reference"]["sha256"]
    name = listed(bundle, stated.text(), "onnx/forward.")
    if name is None:
        return [wrong("reference", stated, "a graph that the bundle lists")]
    return on_disk("reference", stated, bundle, name)


def threat_findings(report: Stated, bundle: Bundle) -> list[Finding]:
    """Bounds are the bundle's; norm and radius, which may have been asked for, are those of the curves."""
    stated, threat = report["threat"], bundle.threat
    bounds = [float(bound) for bound in bundle.modality.input.bounds]
    norm = NORMS.get(stated["norm"].text())
    if norm is None:
        raise stated["norm"].expected(f"one of {', '.join(NORMS)}")
    findings = hold("threat", stated["bounds"], bounds)
    eps = stated["eps"].number()
    if eps <= 0:
        raise stated["eps"].expected("a positive radius")
    if report.has("curve"):
        curves = [report["curve"][side]["points"].items() for side in ("reference", "engine")]
        if any(eps not in [point["eps"].number() for point in points] for points in curves):
            findings.append(wrong("threat", stated["eps"], "a radius of both curves"))
        farthest = replace(threat, norm=norm).farthest(bundle.modality.input.shape)
        findings += [item for points in curves if points for item in hold("threat", points[-1]["eps"], farthest)]
    elif norm != threat.norm or eps != threat.eps:
        findings.append(unchecked("threat", stated["eps"], f"no curve, and another ball than the bundle's {threat}"))
    return merged(findings, ok("threat", stated["eps"]))


def context_findings(stated: Stated, bundle: Bundle, labels: Sequence[str] | None) -> list[Finding]:
    """What the context repeats of the manifest, as far as it does."""
    findings = []
    for name in stated.object():
        if name == "labels":
            findings += [] if labels is None else hold("context", stated[name], list(labels))
        elif name == "hashes":
            files = bundle.manifest["files"]
            for file in stated[name].object():
                if file not in files:
                    findings.append(unchecked("context", stated[name][file], "a file that the bundle does not list"))
                else:
                    findings += hold("context", stated[name][file], files[file]["sha256"])
        elif name in bundle.manifest and stated[name].value != bundle.manifest[name]:
            findings.append(wrong("context", stated[name], bundle.manifest[name]))
    return merged(findings, ok("context", stated))


def on_disk(name: str, stated: Stated, bundle: Bundle, file: str) -> list[Finding]:
    """A hash held against a listed file, which must itself be as the manifest says."""
    try:
        found = sha256_file(bundle.file(file))
    except (AdvcalError, OSError) as error:
        return [Finding(name, "wrong", stated.text()[:64], str(error), stated.path)]
    return hold(name, stated, found)


def listed(bundle: Bundle, sha256: str, prefix: str) -> str | None:
    """The file of this hash among those of the manifest whose names begin with `prefix`."""
    files: Mapping[str, Any] = bundle.manifest["files"]
    return next((name for name, entry in files.items() if name.startswith(prefix) and entry["sha256"] == sha256), None)


def nested(data: object, *keys: str) -> object:
    """What lies at the end of `keys`, or None."""
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data
