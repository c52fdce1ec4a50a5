"""What is stated about a verification: in-toto's test result, and the figures in a predicate of our own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, Literal

from advcal_edge.report.checks import Check
from advcal_edge.report.comparison import Comparison
from advcal_edge.report.derive import CLAIM, Judgement
from advcal_edge.report.selective import Rule

Result = Literal["PASSED", "WARNED", "FAILED"]
Outcome = Literal["passed", "warned", "failed"]
OUTCOMES: tuple[Outcome, ...] = ("passed", "warned", "failed")


def result_of(judgement: Judgement, verified: bool) -> Result:
    """PASSED if the runtime takes the report for the engine's verification (`verified`), WARNED for another pass.

    A report on another norm, a smaller radius or a larger margin is such another pass. An inconclusive verdict is
    FAILED: nobody who accepts warnings may accept an engine of which nothing was shown.
    """
    if judgement.verdict != "pass":
        return "FAILED"
    return "PASSED" if verified else "WARNED"


def test_result(
    judgement: Judgement, measured: Mapping[str, Any], result: Result, report: tuple[str, str]
) -> dict[str, Any]:
    """The predicate `test-result/v0.1`; its configuration is the report (name and sha256) and what it says was asked.

    https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md
    """
    tests = dict(outcomes(judgement))
    name, sha256 = report
    asked = {key: measured[key] for key in ("threat", "budget", "margin", "seed")}
    return {
        "result": result,
        "configuration": [
            {
                "name": name,
                "digest": {"sha256": sha256},
                "mediaType": "application/json",
                "annotations": {**asked, "samples": judgement.measured.n},
            }
        ],
        **{f"{kind}Tests": [test for test, found in tests.items() if found == kind] for kind in OUTCOMES},
    }


def outcomes(judgement: Judgement) -> Iterator[tuple[str, Outcome]]:
    """Each deciding comparison and each check with its outcome."""
    for comparison in judgement.comparisons:
        if comparison.decides:
            yield f"drop {comparison.name}", "passed" if comparison.verdict == "pass" else "failed"
    for check in judgement.checks:
        yield check.name, outcome(check)


def outcome(check: Check) -> Outcome:
    """A required check that was skipped has failed, since the verdict needs it; others that did not pass warn."""
    if check.status == "pass":
        return "passed"
    return "failed" if check.required else "warned"


def robustness(
    judgement: Judgement,
    measured: Mapping[str, Any],
    unconfirmed: list[str],
    report: tuple[str, str],
    selftest: tuple[str, str] | None,
) -> dict[str, Any]:
    """The predicate of our own: threat, budget, samples, drops with intervals, checks with numbers, environment.

    `attestedOn` is the clock of whoever attests, and no trusted time. `unconfirmed` names what the report says and the
    bundle cannot confirm, such as an engine outside of it. `selftest` is the file that a self-test repeats, if stored.
    """
    rule = judgement.rule()
    engine = measured["engine"]
    asked = {key: measured[key] for key in ("threat", "budget", "margin", "seed")}
    return {
        "attestedOn": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "claim": CLAIM,
        "verdict": judgement.verdict,
        "reasons": list(judgement.reasons),
        "report": {"name": report[0], "digest": {"sha256": report[1]}},
        "engine": {key: engine[key] for key in ("path", "precision", "sha256", "fingerprint")},
        "reference": measured["reference"],
        **asked,
        "samples": judgement.measured.n,
        "comparisons": [comparison_of(item) for item in judgement.comparisons],
        "checks": [check.to_json() for check in judgement.checks],
        "abstention": None if rule is None else rule_of(rule),
        "selftest": None if selftest is None else {"name": selftest[0], "digest": {"sha256": selftest[1]}},
        "unconfirmed": unconfirmed,
        "hashes": measured["hashes"],
        "tool": {"name": "advcal-edge", "version": measured["environment"].get("advcal-edge")},
        "environment": measured["environment"],
    }


def rule_of(rule: Rule) -> dict[str, Any]:
    """When an answer is sure, and what was found on both sides of that; no threshold where none keeps to alpha."""
    found = rule.to_json()
    return {key: found[key] for key in ("alpha", "confidence", "threshold", "clean", "attacked")}


def comparison_of(item: Comparison) -> dict[str, Any]:
    """Shares of right answers on both sides, and the drop with its 95 % interval; all are fractions."""
    found = item.to_json()
    return {
        **{key: found[key] for key in ("name", "n", "decides", "verdict", "drop", "interval", "margin")},
        **{side: found[side]["accuracy"] for side in ("reference", "engine")},
    }
