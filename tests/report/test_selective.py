"""The rule for abstention: its arithmetic, the promise that it makes, and what is refused of the margins behind it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings, strategies as st
from sample_report import abstaining, document, measure, with_answers

from advcal_edge.errors import BundleError
from advcal_edge.report.consistency import contradictions
from advcal_edge.report.derive import derive, read_measured
from advcal_edge.report.html import render_html
from advcal_edge.report.selective import CAUTION, CONFIDENCE, Accepted, Margins, Rule, choose, choosing_half
from advcal_edge.report.text import verification_table
from advcal_edge.report.value import Value
from advcal_edge.stats import upper_bound

Json = dict[str, Any]


@given(n=st.integers(0, 400), share=st.floats(0, 1), confidence=st.sampled_from([0.9, 0.95, 0.99]))
def test_the_bound_is_clopper_and_pearsons(n: int, share: float, confidence: float) -> None:
    wrong = round(share * n)
    exact = scipy.stats.beta.ppf(confidence, wrong + 1, n - wrong) if wrong < n else 1.0
    assert upper_bound(wrong, n, confidence) == pytest.approx(exact, abs=1e-8)


@given(n=st.integers(0, 300), share=st.floats(0, 1), alpha=st.floats(0.01, 0.5))
def test_doubt_says_where_the_bound_lies(n: int, share: float, alpha: float) -> None:
    found = Accepted(300, n, round(share * n))
    assert found.doubt(alpha) == pytest.approx(scipy.stats.binom.cdf(found.wrong, n, alpha), abs=1e-9)
    if abs(found.bound - alpha) > 1e-6:
        assert (found.doubt(alpha) <= 1 - CONFIDENCE) is (found.bound <= alpha)


def draw(rng: np.random.Generator, n: int, fooled: float, doubt: float) -> Margins:
    """Samples of which a share can be fooled, with wrong answers less sure than right ones."""
    right, wrong = rng.beta(2, 3, n), np.where(rng.random(n) < fooled, doubt * rng.beta(2, 3, n), -np.inf)
    return Margins(wrong, np.where(np.isfinite(wrong), np.minimum(right, wrong), 0.8 * right))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 120), fooled=st.floats(0, 1), doubt=st.floats(0, 2))
def test_counts_are_those_of_an_adversary_who_picks_one_answer_per_sample(
    seed: int, n: int, fooled: float, doubt: float
) -> None:
    """No choice among the two answers of each sample gives a higher risk than the one that is counted."""
    rng = np.random.default_rng(seed)
    margins = draw(rng, n, fooled, doubt)
    for threshold in (0.0, *rng.random(3)):
        found = margins.accepted(threshold)
        assert found.accepted >= found.wrong
        for _ in range(5):  # another adversary: of each sample the surest wrong answer, or the least sure of all
            takes = (rng.random(n) < 0.5) & np.isfinite(margins.wrong)
            shown, wrong = np.where(takes, margins.wrong, margins.least), takes | (margins.least == margins.wrong)
            accepted = shown > threshold
            assert (accepted & wrong).sum() <= found.wrong
            if accepted.any() and found.risk is not None:
                assert (accepted & wrong).sum() / accepted.sum() <= found.risk + 1e-12


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 150), fooled=st.floats(0, 1), doubt=st.floats(0, 2))
def test_the_choice_is_the_laxest_that_is_safe(seed: int, n: int, fooled: float, doubt: float) -> None:
    margins, alpha = draw(np.random.default_rng(seed), n, fooled, doubt), 0.1
    chosen = choose(margins, alpha)
    safe = [t for t in (0.0, *margins.wrong[margins.wrong > 0]) if margins.accepted(t).doubt(alpha) <= 1 - CAUTION]
    assert chosen == min(safe) if safe else margins.accepted(chosen).doubt(alpha) <= margins.accepted(0.0).doubt(alpha)
    stricter = margins.accepted(chosen + 0.01)
    assert stricter.accepted <= margins.accepted(chosen).accepted


@pytest.mark.parametrize(
    ("fooled", "doubt", "alpha", "often"),
    [(0.1, 1.0, 0.1, 5), (0.35, 0.6, 0.2, 30), (0.35, 0.4, 0.1, 30)],
    ids=["no threshold is safe", "few are", "many are"],
)
def test_the_promise_is_kept(fooled: float, doubt: float, alpha: float, often: int) -> None:
    """A rule is given out whose true risk is above alpha in at most 5 % of all runs, with room for luck."""
    rng, runs, broken, given_out = np.random.default_rng(0), 400, 0, 0
    everybody = draw(np.random.default_rng(99), 100_000, fooled, doubt)
    for _ in range(runs):
        margins = draw(rng, 240, fooled, doubt)
        rule = Rule.of(margins, margins, margins, alpha)
        if rule.holds:
            given_out += 1
            broken += (everybody.accepted(rule.threshold).risk or 0) > alpha
    assert given_out >= often
    assert scipy.stats.binom.sf(broken - 1, runs, 1 - CONFIDENCE) > 0.01


def test_without_a_half_of_its_own_the_bound_would_lie() -> None:
    """Here a wrong answer is as sure as a right one, and no threshold changes the risk, which is above alpha.

    Bounded on the samples that chose it, some threshold seems safe far more often than in 5 % of the runs.
    """
    rng, alpha, runs, seen, kept = np.random.default_rng(0), 0.1, 300, 0, 0
    for _ in range(runs):
        margin, fooled = rng.random(300), rng.random(300) < 0.101
        margins = Margins(np.where(fooled, margin, -np.inf), margin)
        tried = (0.0, *margin[fooled])
        seen += any(margins.accepted(threshold).doubt(alpha) <= 1 - CONFIDENCE for threshold in tried)
        kept += Rule.of(margins, margins, margins, alpha).holds
    assert seen / runs > 0.1
    assert scipy.stats.binom.sf(kept - 1, runs, 1 - CONFIDENCE) > 0.01


def test_halves_are_fixed_and_even() -> None:
    flags = choosing_half(1001)
    assert 500 <= flags.sum() <= 501
    assert (choosing_half(400) == flags[:400]).all()
    assert (flags[0:1000:2] ^ flags[1:1000:2]).all()
    assert flags[:16].astype(int).tolist() == [int(c) for c in KNOWN]  # other versions must draw the same


KNOWN = "1001100101011010"


def test_a_rule_that_holds_and_its_renderings() -> None:
    report = abstaining()
    rule = report["derived"]["abstention"]
    assert rule["threshold"] == rule["tried"] > 0
    assert rule["attacked"]["bound"] <= rule["alpha"] == 0.05
    assert rule["choosing"] + rule["attacked"]["n"] == 1000
    assert rule["clean"]["coverage"] > rule["attacked"]["coverage"] > 0.3
    coverage = [point["attacked"]["coverage"] for point in rule["curve"]]
    assert coverage == sorted(coverage, reverse=True)
    assert rule["threshold"] in [point["threshold"] for point in rule["curve"]]
    text = " ".join(verification_table(report).split())
    assert f"abstain answers count above a margin of {rule['threshold']:.4g}:" in text
    page = render_html(report)
    assert 'id="abstention"' in page
    assert "5&#8239;% allowed" in page


def test_where_no_threshold_is_enough_it_says_so() -> None:
    report = document(with_answers(measure(400, lost=0.0, gained=0.0), doubt=1.0))
    rule = report["derived"]["abstention"]
    assert rule["threshold"] is None
    assert rule["attacked"]["bound"] > rule["alpha"]
    assert report["derived"]["verdict"] == document(measure(400, lost=0.0, gained=0.0))["derived"]["verdict"]
    assert "abstain no margin is known to keep wrong answers below 5 %" in " ".join(verification_table(report).split())
    assert "No threshold is known" in render_html(report)


def test_nothing_accepted_can_be_shown() -> None:
    measured = with_answers(measure(200, lost=0.0, gained=0.0))
    answers = measured["answers"] | {"least": [0.0] * 200}
    answers["aimed"] = [None] * 200
    answers["wrong"] = [None if value is None else 0.0 for value in answers["wrong"]]
    report = document({**measured, "answers": answers})
    assert report["derived"]["abstention"]["attacked"] == {
        "n": 100,
        "accepted": 0,
        "wrong": 0,
        "coverage": 0.0,
        "risk": None,
        "bound": 1.0,
    }
    assert "&ndash;" in render_html(report)


def test_a_report_without_margins_has_no_rule() -> None:
    report = document(measure(200, lost=0.0, gained=0.0))
    assert "abstention" not in report["derived"]
    assert "abstain" not in verification_table(report)


def first(values: list[Any], *, there: bool) -> int:
    return next(k for k, value in enumerate(values) if (value is not None) is there)


FORGED: Mapping[str, tuple[Callable[[Json], object], str]] = {
    "a wrong answer forgotten": (
        lambda a: a["wrong"].__setitem__(first(a["wrong"], there=True), None),
        r"answers\.wrong.*a margin where the engine is wrong",
    ),
    "a wrong answer invented": (
        lambda a: a["wrong"].__setitem__(first(a["wrong"], there=False), 0.1),
        r"answers\.wrong.*null where it never is",
    ),
    "surer when clean": (lambda a: a["clean"].__setitem__(5, 1.5), r"answers\.clean.*the drift allows"),
    "a smallest margin that is not": (
        lambda a: a["least"].__setitem__(first(a["wrong"], there=True), 1.9),
        r"answers\.least.*at most the clean margin",
    ),
    "no attack on the rule": (lambda a: a.update(attacks=[]), r"answers\.attacks.*Square\(queries=50"),
    "an attack that was cheaper": (lambda a: a["attacks"][0].update(queries=100), r"attacks\[0\]\.queries.*12000"),
}


@pytest.mark.parametrize("name", FORGED)
def test_margins_that_cannot_be_are_found(name: str) -> None:
    change, complaint = FORGED[name]
    measured = copy.deepcopy(abstaining()["measured"])
    assert not list(contradictions(Value(measured), read_measured(measured)))
    change(measured["answers"])
    found = [
        f"{value.path}: {expected}" for value, expected in contradictions(Value(measured), read_measured(measured))
    ]
    assert any(re.search(complaint, line) for line in found), found


def test_a_run_that_may_stop_at_any_time_has_no_rule() -> None:
    measured = abstaining()["measured"] | {"sequential": {"every": 16, "at_most": 2000}}
    found = [expected for value, expected in contradictions(Value(measured), read_measured(measured))]
    assert "nothing: the bound needs a number of samples that is fixed beforehand" in found


@pytest.mark.parametrize(
    "change",
    [
        {"alpha": 0},
        {"alpha": 1.0},
        {"clean": [0.1]},
        {"surprise": 1},
        {"attacks": [{"attack": "A", "queries": 1}] * 2},
        {"attacks": [{"attack": "A", "queries": -1}]},
    ],
    ids=str,
)
def test_malformed_margins_are_refused(change: Json) -> None:
    measured = abstaining(200)["measured"]
    with pytest.raises(BundleError, match=r"`measured\.|`answers"):
        derive({**measured, "answers": {**measured["answers"], **change}})


@pytest.mark.parametrize("value", [None, -0.1, 2.1, float("nan"), "sure", True])
@pytest.mark.parametrize("name", ["clean", "wrong"])
def test_values_that_are_no_margin_are_refused(name: str, value: object) -> None:
    measured = abstaining(200)["measured"]
    answers = {**measured["answers"], name: [value, *measured["answers"][name][1:]]}
    if name == "wrong" and value is None:
        derive({**measured, "answers": answers})
        return
    with pytest.raises(BundleError, match=rf"answers\.{name}\[0\]"):
        derive({**measured, "answers": answers})
