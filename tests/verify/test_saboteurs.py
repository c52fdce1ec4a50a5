"""Broken engines must fail and honest ones must pass: the verifier is tested by lying to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from broken import PLAIN, SUBTLE
from runs import Reports, failed
from saboteurs import GRAPHS

CAUGHT_BY: Mapping[str, set[str]] = {
    "coarse_weights": {"drift_within_margin"},
    "shuffled_outputs": {"clean", "drift_within_margin"},
    "constant_output": {"clean", "huge_eps"},
    "added_noise": {"repeatable"},
    "rounded_input": {"finite_differences"},
    "leaking_rows": {"batch_independent"},
    "overflowing": {"unit_norm", "drift_within_margin"},
    "stale_buffer": {"repeatable"},
    "purification": {"gradients_alive", "finite_differences"},
    "saturated_temperature": {"gradients_alive"},
    "dead_int8_gradient": {"gradients_alive", "finite_differences"},
    "nan_gradient": {"gradients_alive"},
    "reversed_gradient": {"finite_differences", "transfer_not_stronger"},
    "a_third_reversed": {"finite_differences"},
}


def check_rejected(report: Mapping[str, Any], name: str) -> None:
    assert report["derived"]["verdict"] == "fail", report["derived"]["checks"]
    assert failed(report) >= CAUGHT_BY[name], failed(report)
    assert report["derived"]["reasons"]


@pytest.mark.xdist_group("sabotaged")
@pytest.mark.parametrize("name", SUBTLE)
def test_sabotaged_and_masked_engines_fail(sabotaged: Reports, name: str) -> None:
    check_rejected(sabotaged[name], name)


@pytest.mark.slow
@pytest.mark.xdist_group("plainly sabotaged")
@pytest.mark.parametrize("name", PLAIN)
def test_plainly_sabotaged_engines_fail(plainly_sabotaged: Reports, name: str) -> None:
    check_rejected(plainly_sabotaged[name], name)


def test_every_saboteur_is_expected_somewhere() -> None:
    assert CAUGHT_BY.keys() == {*SUBTLE, *PLAIN} >= GRAPHS.keys()


@pytest.mark.xdist_group("sabotaged")
def test_attacks_on_an_engine_that_does_not_repeat_itself_average_its_answers(sabotaged: Reports) -> None:
    assert sabotaged["added_noise"]["measured"]["expectation"] == 8
    assert sabotaged["rounded_input"]["measured"]["expectation"] == 1


@pytest.mark.xdist_group("honest")
@pytest.mark.parametrize("name", ["fp32", "re-exported"])
def test_honest_engines_pass(honest: Reports, name: str) -> None:
    report = honest[name]
    assert report["derived"]["verdict"] == "pass", report["derived"]["reasons"]
    assert not failed(report)
    assert {check["status"] for check in report["derived"]["checks"]} == {"pass"}
    assert report["measured"]["engine"]["listed"] is (name != "re-exported")


@pytest.mark.xdist_group("honest")
def test_an_honest_int8_engine_raises_no_alarm(honest: Reports) -> None:
    report = honest["int8"]
    assert report["derived"]["verdict"] in ("pass", "inconclusive"), report["derived"][
        "reasons"
    ]  # 200 samples may not decide its flips
    assert not {check["name"] for check in report["derived"]["checks"] if check["status"] == "fail"}


@pytest.mark.xdist_group("honest")
def test_without_a_gradient_graph_the_verdict_is_open(honest: Reports) -> None:
    report = honest["blind"]
    assert report["derived"]["verdict"] == "inconclusive"
    skipped = {check["name"] for check in report["derived"]["checks"] if check["status"] == "skipped"}
    assert {"eps_zero", "huge_eps", "gradients_alive", "finite_differences", "black_box_not_stronger"} <= skipped
    assert any("skipped" in reason for reason in report["derived"]["reasons"])
    assert not {"gradient", "difference"} & {item["route"] for item in report["derived"]["routes"]}
