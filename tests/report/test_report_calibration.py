"""Is the reference the calibrated model? The checks on embeddings and figures made for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sample_report import measure

from advcal_edge.errors import BundleError
from advcal_edge.report.calibration import (
    Calibration,
    Figure,
    figures_reproduced,
    independent_reference,
    reference_anchored,
    stated_figures,
)
from advcal_edge.report.consistency import contradictions
from advcal_edge.report.derive import derive, read_measured
from advcal_edge.report.value import Value

N = 400


def first(correct: int, n: int = N) -> NDArray[np.bool_]:
    """Right on `correct` of `n` samples, drawn at random, so that a part has about the share of the whole."""
    return np.random.default_rng(0).permutation(n) < correct


def stated(clean: int = 180, worst: int = 150, n: int = 200) -> Calibration:
    return Calibration("linf", 4 / 255, Figure(clean, n), Figure(worst, n), None)


@pytest.mark.parametrize(("farthest", "status"), [(0.0, "pass"), (9e-4, "pass"), (2e-3, "fail"), (2.0, "fail")])
def test_one_sample_elsewhere_is_another_model(farthest: float, status: str) -> None:
    distance = np.full(N, 2e-7)
    distance[17] = farthest
    check = reference_anchored(distance, calibrated=True)
    assert (check.status, check.measured, check.required) == (status, distance.max(), True)
    assert "`calibrate` stored" in check.why


def test_without_stored_embeddings_nothing_is_shown() -> None:
    check = reference_anchored(None, calibrated=True)
    assert (check.status, check.required) == ("skipped", True)


@pytest.mark.parametrize(
    ("worst", "status"),
    [(150, "pass"), (130, "pass"), (120, "pass"), (20, "pass"), (160, "pass"), (174, "fail"), (200, "fail")],
)
def test_a_worst_case_may_be_understated_and_not_overstated(worst: int, status: str) -> None:
    """The reference withstands 300 of 400; attacks differ, so overlapping intervals agree."""
    shown, clean = first(300), first(360)
    claim = stated(clean=int(clean[:200].sum()), worst=worst)
    check = figures_reproduced(claim, clean, shown)
    assert (check.status, check.required) == (status, True), check.why
    assert f"worst case {worst} of 200" in check.why


@pytest.mark.parametrize(("off", "status"), [(0, "pass"), (2, "pass"), (-2, "pass"), (3, "fail"), (-3, "fail")])
def test_clean_figures_of_the_same_samples_are_the_same(off: int, status: str) -> None:
    clean = first(360)
    claim = stated(clean=int(clean[:200].sum()) + off, worst=0)
    assert figures_reproduced(claim, clean, first(300)).status == status


@pytest.mark.parametrize(("correct", "status"), [(180, "pass"), (170, "pass"), (199, "fail"), (150, "fail")])
def test_fewer_samples_than_the_calibration_had_compare_by_intervals(correct: int, status: str) -> None:
    few = first(90, 100)
    assert figures_reproduced(stated(clean=correct, worst=0), few, few).status == status


def test_the_lost_adapter_of_a_verification_without_torch() -> None:
    """Worst case 56.0 where the manifest says 76.5, n = 200."""
    clean = first(180, 200)
    check = figures_reproduced(stated(180, 153), clean, first(112, 200))
    assert check.status == "fail"


def test_an_attack_at_the_calibrations_own_threat_model_counts_where_the_run_has_another() -> None:
    clean, strong, weak = first(180, 200), first(10, 200), first(150, 200)
    claim = replace(stated(180, 150), attacked=weak)
    assert figures_reproduced(claim, clean, strong).status == "pass"
    assert figures_reproduced(replace(claim, attacked=strong), clean, weak).status == "fail"


def test_nothing_calibrated_nothing_stated() -> None:
    check = figures_reproduced(None, first(300), first(200))
    assert (check.status, check.required) == ("skipped", False)
    assert "nothing was calibrated" in check.why


def test_a_graph_against_itself_needs_the_evidence_of_the_calibration() -> None:
    good, bad = (reference_anchored(np.array([d]), calibrated=True) for d in (1e-7, 0.4))
    assert independent_reference("a", None, bad, calibrated=True).status == "pass"
    assert independent_reference("a", "b", bad, calibrated=True).status == "pass"
    assert independent_reference("a", "a", good, calibrated=True).status == "pass"
    for check in (
        independent_reference("a", "a", bad, calibrated=True),
        independent_reference("a", "a", good, calibrated=False),
    ):
        assert (check.status, check.required) == ("fail", True)


ROW = {"accuracy": 0.75, "correct": 150, "n": 200, "interval": [0.68, 0.81]}
THREAT = {"norm": "linf", "eps": 4 / 255, "bounds": [0.0, 1.0]}


def metrics(**changes: Any) -> dict[str, Any]:
    row = {"clean": ROW, "worst": {**ROW, **changes}}
    return {"threat": THREAT, "metrics": {"threat": THREAT, "n": 200, "budgets": {}, "before": row, "after": row}}


def test_the_figures_of_a_manifest() -> None:
    figure = {"correct": 150, "n": 200}
    assert stated_figures(metrics(), "it") == {"threat": THREAT, "clean": figure, "worst": figure}
    assert stated_figures({**metrics(), "comparison": {}}, "it") is None
    with pytest.raises(BundleError, match=r"`metrics\.after\.worst` has an accuracy of 0\.9 and 150 correct of 200"):
        stated_figures(metrics(accuracy=0.9), "it")
    with pytest.raises(BundleError, match="expected those of one threat model"):
        stated_figures({**metrics(), "threat": {**THREAT, "eps": 1 / 255}}, "it")
    with pytest.raises(BundleError, match=r"states no figures: `metrics\.after\.clean` is missing"):
        stated_figures({}, "it")


def with_eps(measured: dict[str, Any], eps: float) -> dict[str, Any]:
    return {**measured, "threat": {**measured["threat"], "eps": eps}}


def test_a_report_at_a_larger_radius_without_that_attack_contradicts_itself() -> None:
    measured = measure(200, lost=0.0, gained=0.0)
    for eps, wrong in ((4 / 255, []), (2 / 255, []), (8 / 255, ["calibration.attacked"])):
        document = with_eps(measured, eps)
        found = contradictions(Value(document), read_measured(document))
        assert [value.path for value, _ in found if "calibration" in value.path] == wrong


def test_verdicts_depend_on_it() -> None:
    measured = measure(1000, lost=0.0, gained=0.0)
    assert derive(measured)["verdict"] == "pass"
    other = derive({**measured, "anchor": [0.4] * 1000})
    assert (other["verdict"], len(other["reasons"])) == ("fail", 1)
    assert other["reasons"][0].startswith("check reference_anchored: 0.4, limit <= 0.001")
    assert derive({**measured, "anchor": None})["verdict"] == "inconclusive"
    raised = {**measured["calibration"], "worst": {"correct": 190, "n": 200}}
    assert derive({**measured, "calibration": raised})["verdict"] == "fail"
    assert derive({**measured, "calibration": None})["verdict"] == "pass"
    for broken in ([0.0] * 999, [-1.0] * 1000, [None] * 1000):
        with pytest.raises(BundleError, match="anchor"):
            derive({**measured, "anchor": broken})
