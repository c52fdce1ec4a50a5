"""Checks, verdict and reasons of a report, decided again."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from advcal_edge.stats import tango, wilson
from advcal_edge.verify.audit.finding import Finding, hold, merged, ok, wrong
from advcal_edge.verify.audit.stated import Stated, shown
from advcal_edge.verify.check import Check, Status
from advcal_edge.verify.checks import registered
from advcal_edge.verify.comparison import Comparison
from advcal_edge.verify.gate import decide

LIMIT = re.compile(r"(<=|>=) (-?[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?)")
ROUNDING = 1e-5  # of a limit, which the document holds with six digits
STATUSES: tuple[Status, ...] = ("pass", "fail", "skipped")


def read_checks(report: Stated) -> list[Check]:
    """Checks of a document.

    Raises:
        BundleError: malformed.
    """
    found = []
    for item in report["checks"].items():
        status = next((known for known in STATUSES if known == item["status"].text()), None)
        if status is None:
            raise item["status"].expected("pass, fail or skipped")
        measured = None if item["measured"].value is None else item["measured"].number()
        name, limit, why = (item[key].text() for key in ("name", "limit", "why"))
        found.append(Check(name, status, measured, limit, why, item["required"].truth()))
    return found


def judge(report: Stated, comparisons: Sequence[Comparison], doubts: Sequence[str]) -> list[Finding]:
    """Each check's status from its number, and the verdict with its reasons from checks and comparisons.

    Raises:
        BundleError: malformed.
    """
    checks = read_checks(report)
    pairs = list(zip(checks, report["checks"].items(), strict=True))
    findings = [item for check, stated in pairs for item in status(check, stated)]
    names = [check.name for check in checks]
    definitions = {definition.name: definition for definition in registered()}
    if sorted(names) != sorted(definitions):
        lacking, other = definitions.keys() - set(names), set(names) - definitions.keys()
        told = [f"lacks {', '.join(sorted(lacking))}"] if lacking else []
        told += [f"has {', '.join(sorted(other))}"] if other else []
        found = shown("; ".join(told) or "a check twice")
        findings.append(Finding("checks", "wrong", found, "each check of this version once", "checks"))
    for check, stated in pairs:
        if check.name in definitions:
            findings += hold(f"check {check.name}", stated["required"], definitions[check.name].required)
    ties = report["drift"]["near_ties"].integer()
    counted = counted_checks(report, {item.name: item for item in comparisons}["worst case"], ties)
    for check, stated in pairs:
        if check.name in counted and check.measured is not None:
            findings += hold(f"check {check.name}", stated["measured"], counted[check.name])
    verdict, reasons = decide(comparisons, checks)
    if verdict != "fail" and doubts:
        verdict, reasons = "inconclusive", [*reasons, *doubts]
    findings = merged(findings, ok("checks", report["checks"]))
    return [*findings, *hold("verdict", report["verdict"], verdict), *hold("reasons", report["reasons"], reasons)]


def alone(report: Stated, comparisons: Sequence[Comparison]) -> str:
    """The verdict whatever other builds did.

    Raises:
        BundleError: malformed.
    """
    return decide(comparisons, read_checks(report))[0]


def status(check: Check, stated: Stated) -> list[Finding]:
    """Whether a check's status is that of its number, and its page the one of its name."""
    name = f"check {check.name}"
    findings = hold(name, stated["page"], f"docs/checks/{check.name}.md")
    match = LIMIT.fullmatch(check.limit)
    if match is None:
        return [*findings, wrong(name, stated["limit"], "like `<= 0.01`")]
    if check.measured is None:
        expected = "fail or skipped where nothing was measured"
        return [*findings, *([wrong(name, stated["status"], expected)] if check.status == "pass" else [])]
    limit = float(match[2])
    good = check.measured <= limit if match[1] == "<=" else check.measured >= limit
    close = check.measured != limit and math.isclose(check.measured, limit, rel_tol=ROUNDING)
    if check.status == "skipped" or not (close or (check.status == "pass") is good):
        findings.append(wrong(name, stated["status"], "pass" if good else "fail"))
    return findings


def counted_checks(report: Stated, worst: Comparison, near_ties: int) -> dict[str, float]:
    """The numbers of those checks that follow from the rest of the document."""
    n, engine, reference = len(worst.engine), report["engine"], report["reference"]
    same = reference.has("sha256") and reference["sha256"].text() == engine["sha256"].text()
    return {
        "not_more_robust": tango(worst.only_engine, worst.only_reference, n).low,
        "drift_within_margin": wilson(min(near_ties, n), n).low,
        "independent_reference": float(same),
    }
