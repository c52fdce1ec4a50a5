"""Broken engines must fail and honest ones must pass: the verifier is tested by lying to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from broken import OTHERS, SUBTLE
from gates import GATES
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
    "coloured_alone": {"same_at_second_look", "worst case"},
    "batch_of_seven": {"same_at_second_look", "worst case"},
    "coloured_on_the_grid": {"same_at_second_look", "worst case"},
    "strong_colour": {"same_at_second_look", "worst case"},
    "little_colour": {"same_at_second_look", "worst case"},
    "lifted": {"same_at_second_look", "worst case"},
    "sleeper": {"agrees_elsewhere"},
    "rotated": {"cosine_floor", "agrees_elsewhere"},
}


def check_rejected(report: Mapping[str, Any], name: str) -> None:
    assert report["derived"]["verdict"] == "fail", report["derived"]["checks"]
    assert failed(report) >= CAUGHT_BY[name], failed(report)
    assert report["derived"]["reasons"]


def test_sabotaged_and_masked_engines_fail(sabotaged: Reports) -> None:
    """All in one test: on two workers one would wait for the reports that the other makes."""
    assert sabotaged.keys() == {*SUBTLE}
    for name, report in sabotaged.items():
        check_rejected(report, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_the_others_fail_too(others_sabotaged: Reports, name: str) -> None:
    check_rejected(others_sabotaged[name], name)


def test_every_saboteur_is_expected_somewhere() -> None:
    assert CAUGHT_BY.keys() == {*SUBTLE, *OTHERS} >= {*GRAPHS, *GATES, "sleeper", "rotated"}


@pytest.mark.slow
def test_attacks_on_an_engine_that_does_not_repeat_itself_average_its_answers(
    sabotaged: Reports, others_sabotaged: Reports
) -> None:
    assert others_sabotaged["added_noise"]["measured"]["expectation"] == 8
    assert sabotaged["rounded_input"]["measured"]["expectation"] == 1


@pytest.mark.slow
def test_honest_engines_pass_or_at_least_raise_no_alarm(honest: Reports) -> None:
    check_passed(honest["fp32"])
    assert honest["fp32"]["measured"]["engine"]["listed"] is True
    derived = honest["int8"]["derived"]
    assert derived["verdict"] in ("pass", "inconclusive"), derived["reasons"]  # 200 samples may not decide its flips
    assert not {check["name"] for check in derived["checks"] if check["status"] == "fail"}


@pytest.mark.slow
def test_an_engine_exported_anew_passes(others_honest: Reports) -> None:
    check_passed(others_honest["re-exported"])
    assert others_honest["re-exported"]["measured"]["engine"]["listed"] is False


def check_passed(report: Mapping[str, Any]) -> None:
    assert report["derived"]["verdict"] == "pass", report["derived"]["reasons"]
    assert not failed(report)
    assert {check["status"] for check in report["derived"]["checks"] if check["required"]} == {"pass"}


@pytest.mark.slow
def test_without_a_gradient_graph_the_verdict_is_open(others_honest: Reports) -> None:
    report = others_honest["blind"]
    assert report["derived"]["verdict"] == "inconclusive"
    skipped = {check["name"] for check in report["derived"]["checks"] if check["status"] == "skipped"}
    assert {"eps_zero", "huge_eps", "gradients_alive", "finite_differences", "black_box_not_stronger"} <= skipped
    assert any("skipped" in reason for reason in report["derived"]["reasons"])
    assert not {"gradient", "difference"} & {item["route"] for item in report["derived"]["routes"]}
