"""The ladder of a report, held against the report itself and against those of earlier steps that are still there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from advcal_edge import limits
from advcal_edge.bundle import Bundle
from advcal_edge.documents import read_object
from advcal_edge.errors import AdvcalError, BundleError
from advcal_edge.verify.audit.finding import Finding, hold, merged, ok, wrong
from advcal_edge.verify.audit.stated import Stated

OPEN = ("fail", "inconclusive", "skipped")
FULL = "fp32"
SHA256 = re.compile("[0-9a-f]{64}")


def ladder_findings(report: Stated, bundle: Bundle) -> list[Finding]:
    """The last attempt is this engine; none before it passed; the precision asked for is the engine's, or given up.

    Raises:
        BundleError: malformed.
    """
    stated, engine = report["ladder"], report["engine"]
    attempts = stated["attempts"].items()
    if not attempts:
        raise stated["attempts"].malformed("is empty")
    own = {
        "step": engine["step"].text(),
        "engine": engine["sha256"].text(),
        "verdict": report["verdict"].text(),
        "reasons": [reason.text() for reason in report["reasons"].items()],
    }
    findings = hold("ladder", attempts[-1], own)
    findings += hold("ladder", stated["reached"], own["step"] if own["verdict"] == "pass" else None)
    steps = [attempt["step"].text() for attempt in attempts]
    if len(set(steps)) < len(steps):
        findings.append(Finding("ladder", "wrong", "a step twice", "each step once", stated["attempts"].path))
    hashes = {value for attempt in attempts if isinstance(value := attempt["engine"].value, str)}
    reports = {sha256: stored(bundle, sha256) for sha256 in hashes}  # each is read once, however often it is named
    for attempt in attempts[:-1]:
        findings += earlier(attempt, reports)
    asked, precision = stated["asked"].text(), engine["precision"].text()
    if asked == FULL or precision not in (asked, FULL):
        findings.append(wrong("ladder", stated["asked"], precision if precision != FULL else "a reduced precision"))
    return merged(findings, ok("ladder", stated["asked"]))


def earlier(attempt: Stated, reports: Mapping[str, Mapping[str, Any] | None]) -> list[Finding]:
    """An attempt before the last: no pass, with a reason, and what its report says where the bundle has one."""
    verdict, sha256 = attempt["verdict"].text(), attempt["engine"].value
    reasons = [reason.text() for reason in attempt["reasons"].items()]
    findings = [] if verdict in OPEN else [wrong("ladder", attempt["verdict"], "no pass before the last attempt")]
    if not reasons:
        findings.append(wrong("ladder", attempt["reasons"], "a reason"))
    if sha256 is None:
        if verdict == "inconclusive":
            findings.append(wrong("ladder", attempt["engine"], "the engine that was verified"))
        return findings
    if verdict == "skipped":
        findings.append(wrong("ladder", attempt["engine"], None))
    if not SHA256.fullmatch(attempt["engine"].text()):
        raise attempt["engine"].expected("a sha256, or null")
    found = reports[attempt["engine"].text()]
    if found is not None:
        findings += hold("ladder", attempt["verdict"], str(found.get("verdict")))
        told = found.get("reasons")
        findings += hold("ladder", attempt["reasons"], list(map(str, told if isinstance(told, list) else [])))
    return findings


def stored(bundle: Bundle, sha256: str) -> Mapping[str, Any] | None:
    """The report of an engine in the bundle, or None where there is none that can be read."""
    name = f"reports/{sha256[:8]}/report.json"
    if not bundle.has(name):
        return None
    try:
        found = read_object(bundle.file(name), limits.REPORT_BYTES, BundleError)
    except AdvcalError:
        return None
    engine = found.get("engine")
    return found if isinstance(engine, dict) and engine.get("sha256") == sha256 else None
