"""Intervals against published figures, and their coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import binomtest

from advcal_edge.stats import samples_to_decide, tango, wilson


@given(n=st.integers(1, 2000), share=st.floats(0, 1))
def test_wilson_is_scipys(n: int, share: float) -> None:
    k = round(n * share)
    ours, theirs = wilson(k, n), binomtest(k, n).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_tango_gives_the_published_interval() -> None:
    # Bentur et al. 2009 as tabulated by Fagerland, Lydersen and Laake (2014): b = 1, c = 7, n = 21
    interval = tango(1, 7, 21)
    assert (interval.low, interval.high) == pytest.approx((-0.517, -0.026), abs=5e-4)


@settings(max_examples=200)
@given(data=st.data(), n=st.integers(1, 1000))
def test_tango_holds_the_estimate_and_is_antisymmetric(data: st.DataObject, n: int) -> None:
    first = data.draw(st.integers(0, n))
    second = data.draw(st.integers(0, n - first))
    ours, mirrored = tango(first, second, n), tango(second, first, n)
    assert -1 <= ours.low <= (first - second) / n <= ours.high <= 1
    assert (ours.low, ours.high) == pytest.approx((-mirrored.high, -mirrored.low), abs=1e-6)


@pytest.mark.parametrize(("lost", "won"), [(0.02, 0.02), (0.05, 0.01), (0.0, 0.03)])
def test_tango_covers_the_truth_about_95_times_of_100(lost: float, won: float) -> None:
    rng, n, runs = np.random.default_rng(0), 300, 2000
    draws = rng.multinomial(n, [lost, won, 1 - lost - won], size=runs)
    covered = 0
    for first, second, _ in draws:
        interval = tango(int(first), int(second), n)
        covered += interval.low <= lost - won <= interval.high
    assert 0.93 <= covered / runs <= 0.985


def test_no_flips_need_189_samples_for_a_margin_of_two_points() -> None:
    assert tango(0, 0, 188).high > 0.02 > tango(0, 0, 189).high


def test_samples_to_decide_decides() -> None:
    needed = samples_to_decide(5, 2, 200, 0.02)
    assert needed is not None
    factor = needed / 200
    interval = tango(round(5 * factor), round(2 * factor), needed)
    assert interval.high < 0.02 or interval.low > 0.02
    assert samples_to_decide(4, 0, 200, 0.02) is None  # exactly on the margin: no number decides


def test_nothing_known_without_samples() -> None:
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)
    assert (tango(0, 0, 0).low, tango(0, 0, 0).high) == (-1.0, 1.0)
