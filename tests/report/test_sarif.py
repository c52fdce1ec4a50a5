"""SARIF 2.1.0: rules with their pages, results for what did not pass, and the members that code hosts read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sample_report import document, failing, foreign, inconclusive, measure, passing
from tiny import Linear, write_bundle

from advcal_edge.cli import main
from advcal_edge.report.checks import RULES
from advcal_edge.report.sarif import encode, sarif
from advcal_edge.spec import image

TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
RULE = {
    "type": "object",
    "required": ["id", "shortDescription", "defaultConfiguration"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string"},
        "shortDescription": TEXT,
        "fullDescription": TEXT,
        "help": TEXT,
        "defaultConfiguration": {"properties": {"level": {"enum": ["none", "note", "warning", "error"]}}},
        "properties": {"type": "object"},
    },
}
RESULT = {
    "type": "object",
    "required": ["ruleId", "level", "message", "locations", "partialFingerprints"],
    "additionalProperties": False,
    "properties": {
        "ruleId": {"type": "string"},
        "level": {"enum": ["none", "note", "warning", "error"]},
        "message": TEXT,
        "locations": {"type": "array", "minItems": 1, "maxItems": 1},
        "partialFingerprints": {"additionalProperties": {"type": "string"}},
        "properties": {"type": "object"},
    },
}
RUN = {
    "type": "object",
    "required": ["tool", "results", "invocations"],
    "additionalProperties": False,
    "properties": {
        "tool": {
            "required": ["driver"],
            "properties": {
                "driver": {
                    "required": ["name", "rules"],
                    "additionalProperties": False,
                    "properties": {
                        "name": {"const": "advcal-edge"},
                        "version": {"type": "string"},
                        "rules": {"type": "array", "items": RULE, "uniqueItems": True},
                    },
                }
            },
        },
        "results": {"type": "array", "items": RESULT},
        "invocations": {"items": {"required": ["executionSuccessful"]}},
        "properties": {"type": "object"},
    },
}
LOG = {
    "type": "object",
    "required": ["$schema", "version", "runs"],
    "additionalProperties": False,
    "properties": {"$schema": {}, "version": {"const": "2.1.0"}, "runs": {"items": RUN, "minItems": 1, "maxItems": 1}},
}
"""The part of https://docs.oasis-open.org/sarif/sarif/v2.1.0 that is written; its own schema, against which the log was
held as a whole, is no part of this project."""


def run_of(log: Mapping[str, Any]) -> Mapping[str, Any]:
    parsed = json.loads(encode(log))
    jsonschema.Draft202012Validator(LOG).validate(parsed)
    (run,) = parsed["runs"]
    known = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert {result["ruleId"] for result in run["results"]} <= known
    found: Mapping[str, Any] = run
    return found


def levels(log: Mapping[str, Any]) -> dict[str, str]:
    return {result["ruleId"]: result["level"] for result in run_of(log)["results"]}


def test_every_check_is_a_rule_with_its_page() -> None:
    rules = {rule["id"]: rule for rule in run_of(sarif([passing()], Path("B")))["tool"]["driver"]["rules"]}
    assert [*rules] == ["verdict", "evidence", *RULES]
    for name in RULES:
        assert rules[name]["help"]["markdown"] == (Path("docs/checks") / f"{name}.md").read_text(encoding="utf-8")
        assert rules[name]["shortDescription"]["text"].startswith("Measures")
        assert rules[name]["properties"]["page"] == f"docs/checks/{name}.md"


def test_an_engine_that_passed_has_no_results() -> None:
    run = run_of(sarif([passing()], Path("B")))
    assert run["results"] == []
    (engine,) = run["properties"]["engines"]
    assert (engine["verdict"], engine["samples"]) == ("pass", 1000)


def test_failed_checks_are_errors_and_skipped_ones_warnings() -> None:
    assert levels(sarif([failing()], Path("B"))) == {"verdict": "error", "black_box_not_stronger": "error"}
    assert levels(sarif([inconclusive()], Path("B"))) == {"verdict": "warning", "huge_eps": "warning"}
    measured = measure(1000, lost=0.004, gained=0.003)
    measured["checks"]["survives_rounding"] = {"fooled": 50, "survived": 4, "steps": 1.1, "bits": 8}
    assert levels(sarif([document(measured)], Path("B"))) == {"survives_rounding": "note"}


def test_a_result_names_the_file_of_the_engine() -> None:
    def places(folder: Path, report: Mapping[str, Any]) -> set[str]:
        results = run_of(sarif([report], folder))["results"]
        return {item["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for item in results}

    assert places(Path("my runs/B"), failing()) == {"my%20runs/B/onnx/forward.int8.onnx"}
    assert places(Path("/runs/B"), failing()) == {"file:///runs/B/onnx/forward.int8.onnx"}
    assert places(Path("B"), foreign()) == {"other.onnx"}  # of another place, which the report does not tell


def test_a_fingerprint_is_that_of_the_file_and_the_rule() -> None:
    def fingerprints(report: Mapping[str, Any]) -> list[str]:
        return [item["partialFingerprints"]["rule/v1"] for item in run_of(sarif([report], Path("B")))["results"]]

    assert fingerprints(failing(1000)) == fingerprints(failing(900))
    assert len(set(fingerprints(failing()))) == 2


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "B", Linear.random(image(4)), ("fp32",), {}, samples=40, gradient=True).path


def test_verify_and_its_check_write_the_file(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "found" / "verify.sarif"
    assert main(["verify", str(tiny), "--samples", "20", "--reference", "onnx", "--sarif", str(out)]) == 1
    assert f"wrote {out}" in capsys.readouterr().err
    assert levels(json.loads(out.read_text()))["verdict"] == "warning"
    report = next(tiny.glob("reports/*/report.json"))
    assert main(["verify", "--check", str(report), "--sarif", str(out)]) == 0
    log = json.loads(out.read_text())
    assert levels(log)["verdict"] == "warning"
    place = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place == {"uri": "B/onnx/forward.fp32.onnx"}
    changed = json.loads(report.read_text())
    changed["derived"]["verdict"] = "pass"
    copy = tmp_path / "copy.json"
    copy.write_text(json.dumps(changed))
    assert main(["verify", str(tiny), "--check", str(copy), "--sarif", str(out)]) == 1
    found = [item for item in run_of(json.loads(out.read_text()))["results"] if item["ruleId"] == "evidence"]
    assert "derived.verdict is pass; expected inconclusive" in found[0]["message"]["text"]


def test_a_shard_has_no_verdict(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tiny), "--shard", "1/2", "--sarif", str(tmp_path / "x.sarif")]) == 2
    assert "a shard has no verdict" in capsys.readouterr().err
