"""Show whether a stored report holds, and write SARIF for CI systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advcal_edge import limits
from advcal_edge.bundle import Bundle
from advcal_edge.cli.console import Console
from advcal_edge.commands import command
from advcal_edge.documents import read_object
from advcal_edge.errors import BundleError, ConfigError
from advcal_edge.manifest import MANIFEST

if TYPE_CHECKING:
    from advcal_edge.verify import VerifyOptions


def write_sarif(
    console: Console,
    path: Path,
    documents: Sequence[Mapping[str, Any]],
    folder: Path,
    findings: Sequence[Mapping[str, Any]] = (),
    report: Path | None = None,
) -> None:
    """Write verdicts, checks and findings about a report for CI systems."""
    from advcal_edge.report.sarif import encode, sarif
    from advcal_edge.storage import write_atomic

    place = None if report is None else from_here(report)
    write_atomic(path, encode(sarif(documents, from_here(folder), findings, place)))
    console.say(f"wrote {path}")


def from_here(path: Path) -> Path:
    """A path relative to the working folder if it lies below, as code hosts want it; else an absolute one."""
    whole, here = path.resolve(), Path.cwd()
    return whole.relative_to(here) if whole.is_relative_to(here) else whole


def audit_report(
    console: Console,
    path: Path,
    bundle: Path | None,
    engine: Path | None,
    options: VerifyOptions,
    public_key: Path | None = None,
    sarif: Path | None = None,
) -> bool:
    """Check hashes and arithmetic of a report without attacking; returns whether all of it is correct.

    A report that passed must also have passed on the terms of `options`, by default the bundle's. A signed bundle is
    compared with what was signed; with a public key it must be signed with it, and attested.

    Raises:
        ConfigError: no bundle to compare it with.
        BundleError: the report cannot be read, or was changed since the bundle listed it.
    """
    from advcal_edge.attestation import PublicKey
    from advcal_edge.report.text import render_findings
    from advcal_edge.verify.audit import audit, terms_of
    from advcal_edge.verify.signature_findings import signature_findings

    document = read_object(path, limits.REPORT_BYTES, BundleError, hint="verify again, or copy the report again")
    opened = Bundle.open(bundle if bundle is not None else bundle_of(path))
    if path.resolve().is_relative_to(opened.path.resolve()):
        inner = path.resolve().relative_to(opened.path.resolve()).as_posix()
        if opened.has(inner):
            opened.file(inner)
    console.say(f"check  {path}  against {opened.path}")
    key = None if public_key is None else PublicKey.read(public_key)
    findings = [
        *audit(document, opened, engine, terms_of(opened, options)),
        *signature_findings(document["measured"], opened, key),
    ]
    console.result(render_findings(findings))
    holds = all(finding.status == "ok" for finding in findings)
    console.document({"holds": holds, "findings": [finding.to_json() for finding in findings]})
    if sarif is not None:
        open_ = [finding.to_json() for finding in findings if finding.status != "ok"]
        write_sarif(console, sarif, [document], opened.path, open_, path)
    if key is None and any(finding.name == "signature" for finding in findings):
        console.say("the bundle is signed; by whom was not checked: no `--public-key`")
    if any(finding.name == "terms" and finding.status == "wrong" for finding in findings):
        console.say(
            "to accept other terms, state them: `--margin`, `--norm`, `--eps`, `--losses`, `--per-class-margin`"
        )
    word = "holds" if holds else "does not hold"
    console.say(f"the report {word}; its verdict is {document['derived'].get('verdict')}. Nothing was attacked")
    return holds


def bundle_of(path: Path) -> Path:
    """The bundle whose folder `reports/ENGINE/` contains the report.

    Raises:
        ConfigError: the report is elsewhere.
    """
    parents = path.resolve().parents
    if len(parents) > 2 and parents[1].name == "reports" and (parents[2] / MANIFEST).is_file():
        return parents[2]
    raise ConfigError(
        f"`{path}` lies in no bundle; expected one to hold it against",
        hint=command("verify", "BUNDLE", "--check", path),
    )
