"""What `verify` measures of an engine that may abstain: margins of all answers, and attacks that aim at the rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paired import INFO
from runs import TEST_BUDGET, verify_all
from tiny import Linear, make_centers, write_bundle

from advcal_edge.attacks import AttackedModel
from advcal_edge.bundle import Bundle
from advcal_edge.cli import main
from advcal_edge.errors import ConfigError
from advcal_edge.probe import Probe
from advcal_edge.runtime import Embedder
from advcal_edge.spec import image
from advcal_edge.verify import VerifyOptions
from advcal_edge.verify.answers import NONE, Answers
from advcal_edge.verify.run import verify

LINEAR = Linear.random(image(4))
SAMPLES = 64


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("rule") / "B", LINEAR, ("fp32",), {}, samples=SAMPLES)


@pytest.fixture(scope="module")
def report(bundle: Bundle) -> dict[str, Any]:
    """A run of this budget with a lax alpha: one label in eight is wrong on purpose."""
    made = verify(bundle, VerifyOptions(engine="fp32", reference="onnx", samples=SAMPLES, alpha=0.7))
    return made[0].to_json()


def found(values: list[float | None]) -> np.ndarray:
    return np.array([NONE if value is None else value for value in values])


def test_margins_are_those_of_the_engine(bundle: Bundle, report: dict[str, Any]) -> None:
    answers, x = report["measured"]["answers"], bundle.probe().x
    z = Embedder.load(bundle.path, "fp32")(x)
    np.testing.assert_allclose(answers["clean"], make_centers().margins(z), atol=1e-6)
    rank = np.array(report["measured"]["clean"]["engine"])
    wrong, aimed = found(answers["wrong"]), found(answers["aimed"])
    assert (wrong[rank > 0] >= np.array(answers["clean"])[rank > 0]).all()
    assert (np.array(answers["least"]) <= np.minimum(answers["clean"], np.where(aimed > 0, aimed, np.inf))).all()


def test_attacks_on_the_rule_find_surer_wrong_answers(report: dict[str, Any]) -> None:
    answers = report["measured"]["answers"]
    assert [item["attack"].partition("(")[0] for item in answers["attacks"]] == ["APGD", "Square"]
    wrong, aimed = found(answers["wrong"]), found(answers["aimed"])
    both = np.isfinite(wrong) & np.isfinite(aimed)
    assert both.sum() > 8
    assert (aimed[both] >= wrong[both]).mean() > 0.9
    assert aimed[both].mean() > wrong[both].mean() + 0.01
    rule = report["derived"]["abstention"]
    assert rule["attacked"]["wrong"] >= rule["unaimed"]["wrong"]


def test_they_enter_no_comparison(report: dict[str, Any]) -> None:
    assert not any("selective" in item["attack"] for item in report["measured"]["attacks"])
    assert {item["name"] for item in report["derived"]["comparisons"]} & {"abstention", "abstention by scores"} == set()


def test_the_report_in_the_bundle_holds_and_a_forged_threshold_does_not(bundle: Bundle, report: dict[str, Any]) -> None:
    rule = report["derived"]["abstention"]
    assert rule["threshold"] is not None  # with an alpha this lax
    (path,) = Path(bundle.path).glob("reports/*/report.json")
    stored = json.loads(path.read_text())
    assert stored["derived"]["abstention"] == rule
    assert main(["verify", "--check", str(path)]) == 0
    forged = path.with_name("forged.json")
    rule = stored["derived"]["abstention"]
    forged.write_text(
        json.dumps({**stored, "derived": {**stored["derived"], "abstention": {**rule, "threshold": 0.5}}})
    )
    assert main(["verify", str(bundle.path), "--check", str(forged)]) == 1


def test_an_engine_without_a_gradient_is_attacked_by_scores(bundle: Bundle) -> None:
    model = AttackedModel(Embedder.load(bundle.path, "fp32").runner, make_centers(), info={**INFO, "gradient": None})
    probe = bundle.probe()
    few = Probe(probe.x[:16], probe.y[:16])
    made = verify_all(model, {"engine": model}, LINEAR.modality, few, bundle.threat)["engine"]
    attacks = made["measured"]["answers"]["attacks"]
    assert [item["attack"].partition("(")[0] for item in attacks] == ["Square"]
    assert attacks[0]["queries"] == 16 * TEST_BUDGET.numbers["square_queries"]
    assert made["derived"]["abstention"]["threshold"] is None  # eight samples cannot show 5 %


def test_a_sequential_run_looks_for_no_rule(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "B", LINEAR, ("fp32",), {}, samples=16)
    (made,) = verify(bundle, VerifyOptions(engine="fp32", reference="onnx", samples=16, sequential=True))
    assert "answers" not in made.measured


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1])
def test_alphas_that_cannot_be(bundle: Bundle, alpha: float) -> None:
    with pytest.raises(ConfigError, match="`--alpha` must lie between 0 and 1"):
        verify(bundle, VerifyOptions(engine="fp32", reference="onnx", samples=16, alpha=alpha))


def test_the_largest_wrong_and_the_smallest_margin_are_kept() -> None:
    answers = Answers.before(np.array([0.3, 0.2, 0.4]), np.array([False, True, False]))
    answers.see(np.array([True, True, False]), np.array([0.1, 0.1, 0.0]), np.array([True, True, True]))
    answers.aim("A", 30, np.array([0.5, 0.05, 0.2]), np.array([True, True, False]))
    np.testing.assert_array_equal(answers.wrong, [0.1, 0.2, NONE])
    np.testing.assert_array_equal(answers.least, [0.1, 0.05, 0.2])
    np.testing.assert_array_equal(answers.aimed, [0.5, 0.05, NONE])
    assert answers.queries == {"A": 30}
