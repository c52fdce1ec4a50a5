"""A check is registered beside its definition: that alone brings it into runs, reports and audits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny import Linear, write_bundle

from advcal_edge.attacks import AttackedModel
from advcal_edge.cli import main
from advcal_edge.report.checks import RULES, Check, judge_value, measured_checks
from advcal_edge.spec import image
from advcal_edge.verify import Samples
from advcal_edge.verify.check import CHECKS, check
from advcal_edge.verify.checks import registered


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Forget what a test has registered."""
    names = {*registered()}
    yield
    for name in CHECKS.keys() - names:
        del CHECKS[name], RULES[name]


def test_new_checks_run_count_and_are_audited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @check(at_most=0)
    def enough_samples(engine: AttackedModel, samples: Samples) -> Check:
        return judge_value("enough_samples", 1.0, "always too few")

    @check(at_least=3, required=False)
    def many_samples(samples: Samples) -> Check:
        return judge_value("many_samples", float(len(samples)), "number of samples")

    bundle = write_bundle(tmp_path / "B", Linear.random(image(4)), ("fp32",), {}, samples=16, gradient=True).path
    assert main(["verify", str(bundle), "--engine", "fp32", "--reference", "onnx"]) == 1
    (path,) = bundle.glob("reports/*/report.json")
    derived = json.loads(path.read_text())["derived"]
    by_name = {item["name"]: item for item in derived["checks"]}
    assert [*by_name] == [*RULES]
    assert (by_name["enough_samples"]["status"], by_name["enough_samples"]["limit"]) == ("fail", "<= 0")
    assert (by_name["many_samples"]["status"], by_name["many_samples"]["required"]) == ("pass", False)
    assert "check enough_samples: 1, limit <= 0 (always too few)" in derived["reasons"]
    assert main(["verify", "--check", str(path)]) == 0
    del CHECKS["many_samples"], RULES["many_samples"]
    capsys.readouterr()
    assert main(["verify", "--check", str(path)]) == 2
    assert "has `many_samples`" in capsys.readouterr().err


def test_every_check_that_is_measured_on_an_engine_alone_is_registered() -> None:
    assert {*measured_checks()} == {*registered(), "survives_rounding"}


def of_engine(engine: Any) -> Check:
    return judge_value("of_engine", 0.0, "")


def of_weather(weather: Any) -> Check:
    return judge_value("of_weather", 0.0, "")


def test_definitions_that_cannot_be() -> None:
    with pytest.raises(TypeError, match="asks for weather; expected some of engine, samples"):
        check(at_most=0)(of_weather)
    for register in (check(), check(at_most=0, at_least=0)):
        with pytest.raises(TypeError, match="needs `at_most` or `at_least`"):
            register(of_engine)
    check(at_most=0)(of_engine)
    with pytest.raises(TypeError, match="`of_engine` is defined twice"):
        check(at_most=0)(of_engine)
