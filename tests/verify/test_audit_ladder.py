"""A ladder is checked against the report it stands in and against the reports of its earlier steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_report import document, laddered
from test_audit import BACKWARD, ENGINE, N, bound, changed, leaves, notices, put, states
from tiny import DIM, Linear, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.centers import Centers
from advcal_edge.spec import thermal
from advcal_edge.verify.audit import audit

STEP = "fp32 last blocks"
UNTIED = {
    "ladder.attempts.0.step",
    "ladder.attempts.1.step",
    "ladder.attempts.0.reasons.0",
    "ladder.attempts.1.reasons.0",
}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """The tiny bundle with a backward graph, its int8 graph of a step."""
    linear, vectors = Linear.random(thermal(8)), np.eye(DIM, dtype=np.float32)
    made = write_bundle(tmp_path / "B", linear, ("fp32", "int8"), {})
    centers = Centers(("car", "cat", "cup", "person"), vectors[:4], 0.1, "test")
    graphs = made.section("graphs")
    files = {**graphs["files"], ENGINE: {**graphs["files"][ENGINE], "step": STEP}}
    content = {BACKWARD: linear.vjp(), "centers.safetensors": centers.to_bytes()}
    return made.add(content, graphs={**graphs, "files": files})


@pytest.fixture
def report(bundle: Bundle) -> dict[str, Any]:
    return laddered(bound(document(N, lost=0.2, gained=0.1, margin=0.6), bundle), STEP)


def test_an_honest_ladder_holds(bundle: Bundle, report: dict[str, Any]) -> None:
    findings = audit(report, bundle)
    assert states(findings) == {}
    assert [item.where for item in findings if item.name == "ladder"] == ["ladder.asked"]


def test_every_tied_value_is_noticed_when_it_is_changed(bundle: Bundle, report: dict[str, Any]) -> None:
    for path, value in leaves({"engine": {"step": STEP}, "ladder": report["ladder"]}):
        name = ".".join(map(str, path))
        assert notices(put(report, path, changed(value)), bundle) is (name not in UNTIED), name


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("ladder", "attempts"), []),
        (("ladder", "attempts", 0, "verdict"), "pass"),
        (("ladder", "attempts", 0, "verdict"), "inconclusive"),
        (("ladder", "attempts", 0, "reasons"), []),
        (("ladder", "attempts", 0, "step"), STEP),
        (("ladder", "attempts", 1, "engine"), "ab" * 32),
        (("ladder", "attempts", 2, "engine"), None),
        (("ladder", "asked"), "fp32"),
        (("ladder", "asked"), "fp16"),
        (("engine", "step"), "as built"),
    ],
)
def test_what_no_climb_leaves_behind_is_noticed(
    bundle: Bundle, report: dict[str, Any], path: tuple[Any, ...], value: object
) -> None:
    assert notices(put(report, path, value), bundle)


def test_a_step_that_the_bundle_does_not_tell_is_noticed(bundle: Bundle, report: dict[str, Any]) -> None:
    plain = {key: value for key, value in report.items() if key != "ladder"}
    assert states(audit(plain, bundle)) == {}  # such as by verifying again
    without = {**plain, "engine": {key: value for key, value in plain["engine"].items() if key != "step"}}
    assert states(audit(without, bundle)) == {"engine.step": "wrong"}


def test_an_earlier_attempt_is_held_against_its_report_while_that_is_there(
    bundle: Bundle, report: dict[str, Any]
) -> None:
    sha256 = "ab" * 32
    earlier = {"engine": {"sha256": sha256}, "verdict": "fail", "reasons": ["check unit_norm failed"]}
    attempt = {"step": "as built", "engine": sha256, "verdict": "fail", "reasons": ["check unit_norm failed"]}
    told = put(report, ("ladder", "attempts", 0), attempt)
    other = put(told, ("ladder", "attempts", 0, "reasons"), ["it was raining"])
    assert states(audit(other, bundle)) == {}
    kept = bundle.add({f"reports/{sha256[:8]}/report.json": json.dumps(earlier).encode()})
    assert states(audit(told, kept)) == {}
    assert states(audit(other, kept)) == {"ladder.attempts[0].reasons[0]": "wrong"}
    assert states(audit(put(told, ("ladder", "attempts", 0, "verdict"), "inconclusive"), kept)) == {
        "ladder.attempts[0].verdict": "wrong"
    }


def test_fp32_may_stand_for_any_precision_that_was_given_up(bundle: Bundle, report: dict[str, Any]) -> None:
    found = put(put(report, ("engine", "precision"), "fp32"), ("ladder", "asked"), "fp16")
    assert not {where for where in states(audit(found, bundle)) if where.startswith("ladder")}


@pytest.mark.parametrize(
    "stored", [b"[]", b"{", b'{"engine": []}', b'{"engine": {"sha256": "SHA"}, "reasons": 3, "verdict": []}']
)
def test_a_damaged_report_of_an_earlier_attempt_is_a_finding_or_none(
    stored: bytes, bundle: Bundle, report: dict[str, Any]
) -> None:
    sha256 = "ab" * 32
    attempt = {"step": "as built", "engine": sha256, "verdict": "fail", "reasons": ["check unit_norm failed"]}
    kept = bundle.add({f"reports/{sha256[:8]}/report.json": stored.replace(b"SHA", sha256.encode())})
    found = set(states(audit(put(report, ("ladder", "attempts", 0), attempt), kept)))
    assert found == ({"ladder.attempts[0].verdict", "ladder.attempts[0].reasons"} if b"SHA" in stored else set())
