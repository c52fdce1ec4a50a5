"""Checks that follow from the rest of a report: each is held against evidence made for it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from advcal_edge.errors import BundleError
from advcal_edge.report.checks import RULES, compare_attacks, judge_survival, judge_value, read_check, skip
from advcal_edge.report.derived_checks import (
    NEAR,
    black_box_not_stronger,
    cosine_floor,
    drift_within_margin,
    falls_to_zero,
    neighbours_kept,
    not_more_robust,
    transfer_not_stronger,
)
from advcal_edge.report.results import SECOND_LOOK, AttackResult, Curve, Drift, Point
from advcal_edge.report.second_look import CHANNELS, CLEAN, CRAFTED, missing_variants, same_at_second_look
from advcal_edge.report.value import Value

N = 300


def attack(route: str, side: str, fools: int) -> AttackResult:
    """An attack on all samples that fooled both sides on the first `fools` of them."""
    rank = (np.arange(N) < fools).astype(np.int64)
    return AttackResult(route, "attack", side, np.ones(N, np.bool_), N, {"reference": rank, "engine": rank})


@pytest.mark.parametrize("route", ["black box", "label only"])
@pytest.mark.parametrize(("alone", "status"), [(0, "pass"), (3, "pass"), (12, "fail")])
def test_who_sees_less_must_not_find_more(alone: int, status: str, route: str) -> None:
    shown = [attack("gradient", "engine", 50), attack(route, "engine", 50 + alone)]
    assert black_box_not_stronger(shown).status == status
    on_reference = [attack("gradient", "engine", 50), attack(route, "reference", 50 + alone)]
    assert black_box_not_stronger([*on_reference, attack(route, "engine", 50)]).status == "pass"
    assert black_box_not_stronger(on_reference).status == "pass"
    assert black_box_not_stronger(shown[1:]).status == "skipped"


@pytest.mark.parametrize(("lead", "status"), [(-20, "pass"), (10, "pass"), (40, "fail")])
def test_transfer(lead: int, status: str) -> None:
    shown = [attack("transfer", "reference", 60 + lead), attack("gradient", "engine", 60)]
    assert transfer_not_stronger(shown).status == status
    assert transfer_not_stronger(shown[1:]).status == "skipped"


@pytest.mark.parametrize(("gain", "status"), [(-10, "pass"), (2, "pass"), (20, "fail")])
def test_gain_over_the_source_is_suspicious(gain: int, status: str) -> None:
    reference, engine = np.arange(N) < 150, np.arange(N) < 150 + gain
    check = not_more_robust(reference, engine, margin=0.02)
    assert (check.status, check.limit) == (status, "<= 0.01")


def looked_at(name: str, side: str, half: int, reference: int, engine: int) -> AttackResult:
    """Every second sample judged again; of those the first few fool the reference, and the first few the engine."""
    attacked = np.arange(N) % 2 == half
    ranks = {
        who: np.where(attacked & (np.arange(N) < 2 * count), 1, 0)
        for who, count in {"reference": reference, "engine": engine}.items()
    }
    return AttackResult(SECOND_LOOK, name, side, attacked, N // 2, ranks)


@pytest.mark.parametrize(
    ("reference", "engine", "status"),
    [(5, 5, "pass"), (0, 4, "pass"), (0, 30, "fail"), (30, 0, "pass"), (30, 60, "fail")],
)
def test_one_kind_of_second_look_is_enough_to_fail(reference: int, engine: int, status: str) -> None:
    """The strong kind fools both sides on every sample, so that the worst case of both is zero."""
    strong = [looked_at("strong", side, half, N // 2, N // 2) for half, side in enumerate(("reference", "engine"))]
    weak = [looked_at("weak", side, half, reference, engine) for half, side in enumerate(("reference", "engine"))]
    check = same_at_second_look([attack("gradient", "engine", N), *strong, *weak], margin=0.02)
    assert (check.status, check.limit, check.required) == (status, "<= 0.02", True)
    if status == "fail":
        assert f"weak (+0 / -{2 * (engine - reference)} of {N})" in check.why


def test_without_a_second_look_nothing_is_decided() -> None:
    check = same_at_second_look([attack("gradient", "engine", 5)], margin=0.02)
    assert (check.status, check.required) == ("skipped", True)


def test_a_second_look_is_no_white_box() -> None:
    """What only a black box and the second look break was broken by no gradient."""
    again = looked_at("weak", "engine", 0, 60, 60)
    shown = [attack("gradient", "engine", 50), attack("black box", "engine", 80), again]
    assert black_box_not_stronger(shown).status == "fail"
    lost = [attack("gradient", "engine", 50), attack("black box", "engine", 50), again]
    assert black_box_not_stronger(lost).status == "pass"


def test_kinds_that_are_missing_are_named() -> None:
    every = [looked_at(name, "reference", 0, 0, 0) for name in (*CRAFTED, *CLEAN)]
    assert [*missing_variants(every)] == []
    assert [*missing_variants([item for item in every if item.attack != CHANNELS])] == []
    assert [*missing_variants(every[1:])] == [every[0].attack]


@pytest.mark.parametrize(("turned", "status"), [(0, "pass"), (10, "pass"), (20, "fail"), (N, "fail")])
def test_a_twentieth_of_the_cosines_may_be_low(turned: int, status: str) -> None:
    cosine = np.where(np.arange(N) < turned, 0.7, 0.999)
    check = cosine_floor(Drift(cosine, np.zeros(N), np.ones(N)))
    assert (check.status, check.limit, check.required) == (status, ">= 0.95", True)


@pytest.mark.parametrize(("lost", "status"), [(0, "pass"), (8, "pass"), (20, "fail")])
def test_neighbours_are_kept_within_the_first_places(lost: int, status: str) -> None:
    check = neighbours_kept(np.where(np.arange(N) < lost, NEAR, NEAR - 1))
    assert (check.status, check.required) == (status, True)


def test_rounding_tells_sub_grey_level_successes() -> None:
    check = judge_survival(10, 0, 0.2, 8)
    assert (check.status, check.measured, check.required) == ("fail", 0.0, False)
    assert judge_survival(10, 8, 0.2, 8).measured == 0.8
    assert judge_survival(0, 0, 0.0, 8).status == "skipped"
    fine = judge_survival(10, 10, 0.2 * 257, 16)
    assert (fine.status, fine.required) == ("skipped", False)  # a fifth of a grey level is fifty steps of 16 bits
    assert "16-bit" in fine.why


def curve(*counts: int, n: int = 64) -> Curve:
    """The first `counts` of n samples withstand, radius after radius."""
    return Curve("by hand", [Point(float(eps), np.arange(n) < count) for eps, count in enumerate(counts)])


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        ((60, 50, 30, 10, 0), "pass"),
        ((60, 30, 31, 10, 0), "pass"),  # a rise by one sample is chance
        ((60, 20, 40, 10, 0), "fail"),  # by twenty it is not
        ((60, 50, 30, 30, 30), "fail"),
        ((60, 50, 30, 1, 1), "pass"),
        ((0, 0, 0, 0, 0), "pass"),
    ],
)
def test_rises_and_remainders(counts: tuple[int, ...], status: str) -> None:
    check = falls_to_zero(curve(*counts))
    assert check.status == status, check


def test_a_rise_is_judged_pair_by_pair() -> None:
    """As many samples stand at either radius, but half of them are others: no rise, whatever the names."""
    n = 64
    before, after = np.arange(n) < 20, (np.arange(n) >= 10) & (np.arange(n) < 30)
    swapped = Curve("by hand", [Point(0.0, before), Point(0.1, after), Point(1.0, np.zeros(n, np.bool_))])
    assert falls_to_zero(swapped).status == "pass"


def test_without_a_curve_it_is_skipped() -> None:
    assert falls_to_zero(None).status == "skipped"


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 2)), min_size=1, max_size=40))
def test_near_ties_are_listed_most_endangered_first(samples: list[tuple[float, float]]) -> None:
    change, margin = (np.array(column) for column in zip(*samples, strict=True))
    drift = Drift(np.ones(len(change)), change, margin)
    rows = drift.near_tie_rows
    assert sorted(rows) == np.flatnonzero(drift.near_ties).tolist()
    assert (np.diff((margin - 2 * change)[rows]) >= 0).all()
    assert drift_within_margin(drift).why.startswith("95 % lower bound")


def test_a_check_names_its_page() -> None:
    for check in (judge_value("unit_norm", 0.0, "why"), skip("unit_norm", "why")):
        assert check.to_json()["page"] == check.page == "docs/checks/unit_norm.md"


def test_a_lead_is_judged_by_its_lower_bound() -> None:
    first, second, name = np.arange(30) < 20, np.arange(30) < 8, "losses_agree"
    ahead = compare_attacks(name, first, second, "one over the other")
    why = "95 % lower bound of the lead of one over the other: +12 / -0 of 30 samples"
    assert (ahead.status, ahead.why) == ("fail", why)
    assert compare_attacks(name, second, first, "the other over one").status == "pass"
    assert compare_attacks(name, np.arange(30) < 10, second, "two more").status == "pass"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_fails(value: float) -> None:
    check = judge_value("unit_norm", value, "largest deviation")
    assert (check.status, check.measured, check.why) == ("fail", None, f"largest deviation; measured {value}")


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if not rule.derived])
def test_a_check_is_read_back_as_it_was_measured(name: str) -> None:
    made = [
        skip(name, "no gradient"),
        judge_value(name, 0.01, "why"),
        compare_attacks(name, *np.eye(2) > 0, "a over b"),
    ]
    if name == "survives_rounding":
        made = [judge_survival(4, 3, 1.5, 8)]
    for check in made:
        assert read_check(name, Value(dict(check.raw))) == check


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"value": "0", "why": ""},
        {"value": 0.0},
        {"value": 0.0, "why": "", "limit": 9},
        {"gained": 3, "lost": 3, "samples": 5, "what": ""},
        {"gained": 0, "lost": 0, "samples": 0, "what": ""},
        {"skipped": 3},
    ],
)
def test_a_malformed_measurement_is_refused_in_words(raw: dict[str, object]) -> None:
    with pytest.raises(BundleError, match="the report is malformed: `c"):
        read_check("losses_agree", Value(raw, "c"))
