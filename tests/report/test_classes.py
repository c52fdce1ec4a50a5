"""The drop class by class, against a count by hand and by simulation; and references with nothing left to lose."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from sample_report import SIDES, measure

from advcal_edge.errors import BundleError
from advcal_edge.report.classes import ByClass
from advcal_edge.report.comparison import Comparison
from advcal_edge.report.derive import derive
from advcal_edge.report.stakes import STAKES, nothing_to_lose
from advcal_edge.report.text import verification_table
from advcal_edge.stats import tango, wilson

Json = dict[str, Any]


def one_class_lost(n: int = 600, share: float = 0.5) -> Json:
    """Measurements of an engine that loses a share of one class under attack, and nothing else."""
    found = measure(n, lost=0.0, gained=0.0, flipped=0.0)
    clean, lost = found["clean"]["engine"], 0
    for row in found["attacks"]:
        if row["route"] == "gradient":
            for k, (truth, rank, met) in enumerate(zip(found["truth"], clean, row["attacked"], strict=True)):
                if truth == 2 and rank == 0 and met == "1" and lost < share * found["truth"].count(2):
                    row["ranks"]["engine"][k], lost = 1, lost + 1
    return found


def test_the_class_that_loses_most_is_counted_by_hand() -> None:
    found = one_class_lost()
    classes = derive(found)["classes"]
    clean, worst = classes["worst"]
    assert (clean["comparison"], worst["comparison"]) == ("clean", "worst case")
    assert worst["label"] == found["labels"][2]
    n = found["truth"].count(2)
    fooled = {
        side: {k for row in found["attacks"] for k, rank in enumerate(row["ranks"][side]) if rank}
        for side in ("reference", "engine")
    }
    right = {side: {k for k, rank in enumerate(found["clean"][side]) if rank == 0} - fooled[side] for side in fooled}
    of_class = {k for k, truth in enumerate(found["truth"]) if truth == 2}
    lost, gained = (
        len((right["reference"] - right["engine"]) & of_class),
        len((right["engine"] - right["reference"]) & of_class),
    )
    assert (worst["n"], worst["only_reference"], worst["only_engine"]) == (n, lost, gained)
    assert worst["drop"] == pytest.approx((lost - gained) / n)
    assert classes["classes"] == 5
    assert classes["confidence"] == pytest.approx(0.99)
    assert worst["interval"] == tango(lost, gained, n, 0.99).to_json()
    assert classes["margin"] is classes["verdict"] is None


def test_a_margin_per_class_decides() -> None:
    found = {**one_class_lost(1000, 0.15), "margin": 0.05}
    whole = derive(found)
    assert (whole["verdict"], whole["reasons"]) == ("pass", [])  # on average three points are lost
    by_class = derive({**found, "per_class_margin": 0.05})
    assert (by_class["verdict"], by_class["classes"]["verdict"]) == ("fail", "fail")
    assert "worst case of class car fell" in by_class["reasons"][0]
    assert by_class["reasons"][0].endswith("allowed 5 per class")
    open_ = derive({**measure(400, lost=0, gained=0, flipped=0), "per_class_margin": 0.05})
    assert open_["classes"]["verdict"] == open_["verdict"] == "inconclusive"
    assert "straddles 5 per class, and 4 other classes likewise" in open_["reasons"][0]
    wide = derive({**measure(400, lost=0, gained=0, flipped=0), "per_class_margin": 0.2})
    assert wide["classes"]["verdict"] == wide["verdict"] == "pass"


@pytest.mark.parametrize("margin", [0, 1, -0.1, "much", None, True])
def test_margins_that_cannot_be(margin: object) -> None:
    with pytest.raises(BundleError, match="per_class_margin"):
        derive({**measure(20, lost=0, gained=0), "per_class_margin": margin})


def test_the_table_names_the_class() -> None:
    from advcal_edge.bundle import REPORT_SCHEMA

    found = {**one_class_lost(), "per_class_margin": 0.05}
    table = verification_table({"schema": REPORT_SCHEMA, "measured": found, "derived": derive(found)})
    text = " ".join(table.split())
    assert "class largest drop of 5 classes: clean" in text
    assert "worst case car" in text
    assert "allowed 5 in any class" in text


def test_the_intervals_of_all_classes_hold_together() -> None:
    """In at least 95 % of 400 draws every class's interval holds its true drop, so that of the worst one does too."""
    rng, k, each, lost, gained = np.random.default_rng(0), 6, 60, 0.08, 0.03
    held = 0
    for _ in range(400):
        draw = rng.multinomial(each, (lost, gained, 1 - lost - gained), size=k)
        inside = [tango(int(a), int(b), each, 1 - 0.05 / k) for a, b, _ in draw]
        held += all(one.low <= lost - gained <= one.high for one in inside)
    assert held / 400 > 0.93  # 0.95 less three standard errors would be 0.917


def comparison(kept: int, n: int, margin: float = 0.02) -> Comparison:
    right = np.arange(n) < kept
    return Comparison("worst case", right, right, margin, decides=True)


def test_a_reference_that_keeps_nothing_decides_nothing() -> None:
    for kept, n, margin in ((0, 500, 0.02), (10, 500, 0.02), (35, 500, 0.02), (75, 500, 0.05), (60, 100, 0.2)):
        (reason,) = nothing_to_lose(comparison(kept, n, margin))
        assert wilson(kept, n).low <= STAKES * margin
        assert f"keeps {kept} of {n} samples in the worst case" in reason
    assert not list(nothing_to_lose(comparison(126, 500)))  # video, the weakest preset: 25.2 % [21.6, 29.2]
    assert "raise `--samples`" in next(nothing_to_lose(comparison(35, 500)))
    assert "use a smaller `--eps`" in next(nothing_to_lose(comparison(10, 500)))


def test_both_sides_at_zero_are_inconclusive_and_no_pass() -> None:
    found = measure(500, lost=0.0, gained=0.0, flipped=0.0)
    assert derive(found)["verdict"] == "pass"
    broken = copy.deepcopy(found)
    for row in (next(row for row in broken["attacks"] if row["crafted_on"] == side) for side in SIDES):
        row["ranks"] |= {side: [int(met) for met in row["attacked"]] for side in SIDES}
    broken["calibration"]["worst"]["correct"] = 0
    derived = derive(broken)
    assert derived["verdict"] == "inconclusive"
    (worst,) = (item for item in derived["comparisons"] if item["name"] == "worst case")
    assert worst["verdict"] == "pass"  # no drop to see
    assert any(reason.startswith("nothing left to lose: the reference keeps") for reason in derived["reasons"])


def test_classes_without_samples_are_left_out() -> None:
    right = np.ones(6, np.bool_)
    both = [Comparison(name, right, right, 0.02, decides=True) for name in ("clean", "worst case")]

    class Few:
        truth, labels, class_margin = np.array([0, 0, 0, 3, 3, 3]), list("abcd"), None

    found = ByClass.of(Few(), both)  # type: ignore[arg-type]
    assert [item.label for item in found.drops["clean"]] == ["a", "d"]
    assert found.to_json()["classes"] == 2
