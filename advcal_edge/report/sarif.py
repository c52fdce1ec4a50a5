"""Reports as a SARIF 2.1.0 log, which code hosts and CI systems show as alerts.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from advcal_edge.report.checks import RULES, Check
from advcal_edge.report.comparison import number_text
from advcal_edge.report.derive import Judgement, read_measured
from advcal_edge.report.pages import FOLDER, Page, load_pages
from advcal_edge.storage import sha256_bytes

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
VERDICT, EVIDENCE = "verdict", "evidence"
SAID = {
    VERDICT: "Reference and engine meet the same attacks; the paired drop and the required checks decide.",
    EVIDENCE: "Hashes, signatures and conclusions of a report agree with its bundle and its measurements.",
}
"""Rules that are no checks."""
LEVELS = {"fail": "error", "inconclusive": "warning"}


def sarif(
    documents: Sequence[Mapping[str, Any]],
    folder: Path,
    findings: Sequence[Mapping[str, Any]] = (),
    report: Path | None = None,
) -> dict[str, Any]:
    """One run with a rule per check, and a result for each that failed, was skipped though required, or only warns.

    A verdict that is no pass is a result too; a run without results passed, as CI systems read it. `folder` is the
    bundle, for the paths of the engines; `findings` are those of `verify --check` on `report` that are not ok.

    Raises:
        BundleError: a malformed report.
    """
    judged = [(document, Judgement.of(read_measured(document["measured"]))) for document in documents]
    results = [found for document, judgement in judged for found in results_of(document, judgement, folder)]
    results += [finding_result(finding, address(report or Path("report.json"))) for finding in findings]
    checks = {check.name: check for _, judgement in judged for check in judgement.checks}
    versions = [document["measured"]["environment"].get("advcal-edge") for document in documents]
    driver = {"name": "advcal-edge", "rules": list(rules(checks))}
    if versions and isinstance(versions[0], str):
        driver["version"] = versions[0]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "results": results,
                "invocations": [{"executionSuccessful": True}],
                "properties": {"engines": [summary(document, judgement) for document, judgement in judged]},
            }
        ],
    }


def encode(log: Mapping[str, Any]) -> bytes:
    """The content of a SARIF file."""
    return (json.dumps(log, indent=1, allow_nan=False) + "\n").encode()


def rules(checks: Mapping[str, Check]) -> Iterator[dict[str, Any]]:
    """The two rules that are no checks, every check of this package, and further ones that the reports have."""
    pages = load_pages()
    for name, text in SAID.items():
        yield {"id": name, "shortDescription": {"text": text}, "defaultConfiguration": {"level": "error"}}
    for name in dict.fromkeys((*RULES, *checks)):
        required = RULES[name].required if name in RULES else checks[name].required
        rule = {
            "id": name,
            "shortDescription": {"text": name.replace("_", " ")},
            "defaultConfiguration": {"level": "error" if required else "note"},
            "properties": {"required": required, "page": f"docs/checks/{name}.md"},
        }
        yield {**rule, **described(name, pages)}


def described(name: str, pages: Mapping[str, Page]) -> dict[str, Any]:
    """What a check measures and why, and its whole page as help; nothing for a check without a page."""
    page = pages.get(name)
    if page is None:
        return {}
    texts = ["".join(text for _, text in paragraph) for paragraph in page.paragraphs]
    whole = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    return {
        "shortDescription": {"text": texts[0]},
        "fullDescription": {"text": "\n".join(texts)},
        "help": {"text": "\n".join(texts), "markdown": whole},
    }


def results_of(document: Mapping[str, Any], judgement: Judgement, folder: Path) -> Iterator[dict[str, Any]]:
    """The results about one engine: its verdict if that is no pass, and each check that did not pass."""
    engine = document["measured"]["engine"]
    uri = address(folder / engine["path"] if engine["listed"] else Path(engine["path"]))
    about = f"engine {engine['sha256'][:12]} ({engine['precision']})"
    if judgement.verdict != "pass":
        reasons = "; ".join(judgement.reasons)
        yield result(VERDICT, LEVELS[judgement.verdict], f"{about}: {judgement.verdict}: {reasons}", uri)
    for check in judgement.checks:
        level = level_of(check)
        if level is not None:
            found = "skipped" if check.status == "skipped" else f"{number_text(check.measured)}, limit {check.limit}"
            yield {
                **result(check.name, level, f"{about}: {check.name} {found}: {check.why}", uri),
                "properties": {"status": check.status, "measured": check.measured, "limit": check.limit},
            }


def level_of(check: Check) -> str | None:
    """Error for a failed check, warning for a required one that was skipped, note for an advisory one that failed."""
    if check.status == "fail":
        return "error" if check.required else "note"
    return "warning" if check.status == "skipped" and check.required else None


def finding_result(finding: Mapping[str, Any], uri: str) -> dict[str, Any]:
    """A finding of `verify --check` that is wrong or could not be confirmed."""
    level = "error" if finding["status"] == "wrong" else "warning"
    text = f"{finding['name']}: {finding['where']} is {finding['found']}; expected {finding['expected']}"
    return result(EVIDENCE, level, text, uri, finding["where"])


def result(rule: str, level: str, text: str, uri: str, part: str = "") -> dict[str, Any]:
    """One result; its fingerprint is that of the file and the rule, so that a later run continues the same alert."""
    place = {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}}}
    return {
        "ruleId": rule,
        "level": level,
        "message": {"text": text},
        "locations": [place],
        "partialFingerprints": {"rule/v1": sha256_bytes(f"{uri} {rule} {part}".encode())[:32]},
    }


def address(path: Path) -> str:
    """A path as a URI: relative ones stay relative, to be resolved against the root of a checkout."""
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())


def summary(document: Mapping[str, Any], judgement: Judgement) -> dict[str, Any]:
    """The verdict on one engine with its worst-case drop."""
    worst = next(item for item in judgement.comparisons if item.name == "worst case")
    engine = document["measured"]["engine"]
    return {
        **{key: engine[key] for key in ("path", "precision", "sha256")},
        "verdict": judgement.verdict,
        "reasons": list(judgement.reasons),
        "samples": judgement.measured.n,
        "drop": worst.drop,
        "interval": worst.interval.to_json(),
    }
