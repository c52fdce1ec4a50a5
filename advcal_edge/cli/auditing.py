"""`advcal-edge verify --check`: does a stored report still speak of this bundle, and does its arithmetic hold?"""

from __future__ import annotations

from pathlib import Path

from advcal_edge import limits
from advcal_edge.bundle import Bundle
from advcal_edge.cli.console import Console
from advcal_edge.commands import command
from advcal_edge.documents import read_object
from advcal_edge.errors import BundleError, ConfigError
from advcal_edge.manifest import MANIFEST


def audit_report(console: Console, path: Path, bundle: Path | None, engine: Path | None) -> bool:
    """Check hashes and arithmetic of a report without attacking anything; whether all of it holds.

    Raises:
        ConfigError: no bundle to hold it against.
        BundleError: the report cannot be read, or was changed since the bundle listed it.
    """
    from advcal_edge.report.text import render_findings
    from advcal_edge.verify.audit import audit

    document = read_object(path, limits.REPORT_BYTES, BundleError, hint="verify again, or copy the report again")
    opened = Bundle.open(bundle if bundle is not None else bundle_of(path))
    if path.resolve().is_relative_to(opened.path.resolve()):
        inner = path.resolve().relative_to(opened.path.resolve()).as_posix()
        if opened.has(inner):
            opened.file(inner)
    console.say(f"check  {path}  against {opened.path}")
    findings = audit(document, opened, engine)
    console.result(render_findings(findings))
    holds = all(finding.status == "ok" for finding in findings)
    console.document({"holds": holds, "findings": [finding.to_json() for finding in findings]})
    word = "holds" if holds else "does not hold"
    console.say(f"the report {word}; its verdict is {document['derived'].get('verdict')}. Nothing was attacked")
    return holds


def bundle_of(path: Path) -> Path:
    """The bundle in whose folder `reports/ENGINE/` the report lies.

    Raises:
        ConfigError: it lies elsewhere.
    """
    parents = path.resolve().parents
    if len(parents) > 2 and parents[1].name == "reports" and (parents[2] / MANIFEST).is_file():
        return parents[2]
    raise ConfigError(
        f"`{path}` lies in no bundle; expected one to hold it against",
        hint=command("verify", "BUNDLE", "--check", path),
    )
