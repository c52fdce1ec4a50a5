"""A check is registered beside its definition: that alone brings it into runs, reports and audits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny import Linear, write_bundle

from advcal_edge.attacks import Victim
from advcal_edge.cli import main
from advcal_edge.spec import image
from advcal_edge.verify import Samples
from advcal_edge.verify.check import CHECKS, FACTS, CheckDefinition, Measurement, check
from advcal_edge.verify.checks import registered
from advcal_edge.verify.evidence import Evidence


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Forget what a test has registered."""
    names = {definition.name for definition in registered()}
    yield
    for name in CHECKS.keys() - names:
        del CHECKS[name]


def test_new_checks_run_count_and_are_audited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @check(order=15, at_most=0)
    def enough_samples(engine: Victim, samples: Samples) -> Measurement:
        return Measurement(1.0, "always too few")

    @check(order=15, at_least=3, required=False)
    def many_attacks(evidence: Sequence[Evidence]) -> Measurement:
        return Measurement(float(len(evidence)), "number of attacks")

    bundle = write_bundle(tmp_path / "B", Linear.random(image(4)), ("fp32",), {}, samples=16, gradient=True).path
    assert main(["verify", str(bundle), "--engine", "fp32", "--reference", "onnx"]) == 1
    (path,) = bundle.glob("reports/*/report.json")
    report = json.loads(path.read_text())
    assert [item["name"] for item in report["checks"]] == [definition.name for definition in registered()]
    by_name = {item["name"]: item for item in report["checks"]}
    assert (by_name["enough_samples"]["status"], by_name["enough_samples"]["limit"]) == ("fail", "<= 0")
    assert (by_name["many_attacks"]["status"], by_name["many_attacks"]["required"]) == ("pass", False)
    assert report["verdict"] == "fail"
    assert "check enough_samples: 1, limit <= 0 (always too few)" in report["reasons"]
    assert main(["verify", "--check", str(path)]) == 0
    del CHECKS["many_attacks"]
    assert main(["verify", "--check", str(path)]) == 1
    assert "has many_attacks" in capsys.readouterr().out


def test_checks_come_in_the_order_that_they_declare() -> None:
    stages = [definition.stage for definition in registered()]
    assert stages == sorted(stages)  # engine before results
    for stage in FACTS:
        orders = [definition.order for definition in registered(stage)]
        assert orders == sorted(set(orders))


def test_limits_of_the_margin_follow_it() -> None:
    @check(order=15, at_most=0.5, of_margin=True)
    def half_the_margin(evidence: Any) -> Measurement:
        return Measurement(0.02, "given")

    assert half_the_margin([], margin=0.02) == half_the_margin.settle(Measurement(0.02, "given"))
    assert (half_the_margin([], margin=0.02).status, half_the_margin([], margin=0.1).status) == ("fail", "pass")


@pytest.mark.parametrize(
    ("value", "status", "measured"),
    [(1.0, "pass", 1.0), (1.1, "fail", 1.1), (float("nan"), "fail", None), (None, "skipped", None)],
)
def test_a_status_follows_from_the_number(value: float | None, status: str, measured: float | None) -> None:
    @check(order=15, at_most=1)
    def at_most_one(samples: Any) -> Measurement:
        return Measurement(value, "given")

    found = at_most_one(None)
    assert (found.status, found.measured, found.limit) == (status, measured, "<= 1")


def of_evidence(evidence: Any) -> Measurement:
    return Measurement(0.0, "")


def of_engine(engine: Any) -> Measurement:
    return Measurement(0.0, "")


def of_weather(weather: Any) -> Measurement:
    return Measurement(0.0, "")


def of_both(engine: Any, evidence: Any) -> Measurement:
    return Measurement(0.0, "")


@pytest.mark.parametrize(
    ("register", "function", "message"),
    [
        (check(order=1, at_most=0), of_weather, "asks for weather; expected some of engine, samples"),
        (check(order=1, at_most=0), of_both, "asks for engine, evidence"),
        (check(order=1), of_evidence, "needs `at_most` or `at_least`"),
        (check(order=1, at_most=0, at_least=0), of_evidence, "needs `at_most` or `at_least`"),
        (check(order=1, at_most=1, of_margin=True), of_engine, "before the margin is known"),
    ],
)
def test_definitions_that_cannot_be(
    register: Callable[[Callable[..., Measurement]], CheckDefinition],
    function: Callable[..., Measurement],
    message: str,
) -> None:
    with pytest.raises(TypeError, match=message):
        register(function)


def test_a_name_is_taken_once() -> None:
    check(order=1, at_most=0)(of_engine)
    with pytest.raises(TypeError, match="`of_engine` is defined twice"):
        check(order=2, at_most=0)(of_engine)
