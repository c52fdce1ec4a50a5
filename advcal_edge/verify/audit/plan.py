"""What a report repeats of a plan's metadata, compared with the metadata in the bundle."""

from __future__ import annotations

from pathlib import Path

from advcal_edge.bundle import Bundle
from advcal_edge.errors import AdvcalError, BundleError
from advcal_edge.runtime.metadata import EngineMetadata, metadata_path, read_metadata
from advcal_edge.verify.audit.finding import Finding, hold, merged, ok, unchecked
from advcal_edge.verify.audit.stated import Stated


def plan_findings(report: Stated, bundle: Bundle) -> list[Finding]:
    """Product, version, device, graph and precision; and hashes, which must be those the report gives elsewhere.

    Raises:
        BundleError: malformed, or the metadata in the bundle are damaged.
    """
    engine, hashes = report["engine"], report["hashes"]
    if not engine.has("plan"):
        return []
    plan = engine["plan"]
    findings = hold("plan", plan["graph_sha256"], hashes["graph"].text())
    if plan["backward_sha256"].value is not None:
        findings += hold("plan", plan["backward_sha256"], hashes["gradient"].text())
    metadata = listed_metadata(bundle, Path(engine["path"].text()))
    if metadata is None:
        return [*findings, unchecked("plan", plan["graph"], "a plan whose metadata the bundle does not list")]
    findings += hold("plan", plan["product"], metadata.product)
    findings += hold("plan", plan["version"], list(metadata.version))
    findings += hold("plan", plan["device"], None if metadata.device is None else str(metadata.device))
    findings += hold("plan", plan["graph"], metadata.graph)
    findings += hold("plan", plan["graph_sha256"], metadata.graph_sha256)
    findings += hold("plan", plan["asked"], metadata.precision)
    findings += hold("plan", plan["evidence"], metadata.evidence)
    findings += hold("plan", engine["precision"], metadata.achieved)
    return merged(findings, ok("plan", plan["graph_sha256"]))


def listed_metadata(bundle: Bundle, plan: Path) -> EngineMetadata | None:
    """The metadata of a plan, where the bundle lists them; else None."""
    name = metadata_path(plan).as_posix()
    if not bundle.has(name):
        return None
    try:
        return read_metadata(bundle.file(name).with_suffix(plan.suffix))
    except AdvcalError as error:
        raise BundleError(error.message, hint=error.hint) from error
