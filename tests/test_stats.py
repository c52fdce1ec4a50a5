"""Statistics against scipy and published figures; coverage as a number, by enumeration of every outcome."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import beta, binom, binomtest, multinomial

from advcal_edge.stats import (
    Interval,
    binomial_tail,
    clopper_pearson,
    mcnemar,
    newcombe,
    quantile,
    samples_to_decide,
    score_variance,
    tango,
    wilson,
)

# (only first, only second): no flips, rare ones on one side and on both, common ones
RATES = ((0, 0), (0.002, 0), (0.005, 0.005), (0.02, 0), (0.02, 0.02), (0.03, 0.01), (0.1, 0.02), (0.2, 0.1), (0.3, 0.3))

paired = cache(tango)


@given(n=st.integers(1, 2000), share=st.floats(0, 1), confidence=st.sampled_from([0.8, 0.95, 0.999]))
def test_shares_have_scipys_intervals(n: int, share: float, confidence: float) -> None:
    k = round(n * share)
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        theirs = binomtest(k, n).proportion_ci(confidence, method=method)
        found = ours(k, n, confidence)
        assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9), method


@given(n=st.integers(1, 5000), share=st.floats(0, 1))
def test_clopper_and_pearson_are_quantiles_of_the_beta_distribution(n: int, share: float) -> None:
    k = round(n * share)
    found = clopper_pearson(k, n)
    assert found.low == pytest.approx(beta.ppf(0.025, k, n - k + 1) if k else 0.0, abs=1e-9)
    assert found.high == pytest.approx(beta.ppf(0.975, k + 1, n - k) if k < n else 1.0, abs=1e-9)


@given(n=st.integers(1, 5000), share=st.floats(0, 1), p=st.floats(0, 1))
def test_the_binomial_tail_is_scipys(n: int, share: float, p: float) -> None:
    k = round(n * share)
    assert binomial_tail(k, n, p) == pytest.approx(binom.sf(k - 1, n, p), rel=1e-8, abs=1e-12)


@given(first=st.integers(0, 300), second=st.integers(0, 300))
def test_mcnemar_is_a_binomial_test_of_the_flips(first: int, second: int) -> None:
    expected = binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_never_exceeds_its_level() -> None:
    for level in (0.1, 0.05, 0.01):
        for flips in range(120):
            count = np.arange(flips + 1)
            rejects = np.array([mcnemar(int(k), int(flips - k)) <= level for k in count])
            assert (binom.pmf(count, flips, 0.5) * rejects).sum() <= level


def test_paired_intervals_are_the_published_ones() -> None:
    # Bentur et al. 2009 (1, 1, 7, 12) as tabulated by Fagerland, Lydersen and Laake 2014
    found = tango(1, 7, 21)
    assert (found.low, found.high) == pytest.approx((-0.517, -0.026), abs=5e-4)
    found = newcombe(1, 7, 1, 21)
    assert (found.low, found.high) == pytest.approx((-0.507, -0.026), abs=5e-4)
    # Cavo et al. 2012 (59, 6, 16, 80), where the correlation is positive; from the R package contingencytables
    found = newcombe(6, 16, 59, 161)
    assert (found.low, found.high) == pytest.approx((-0.1186, -0.0046), abs=5e-5)


@settings(max_examples=200)
@given(data=st.data(), n=st.integers(1, 1000))
def test_paired_intervals_hold_the_estimate_and_are_antisymmetric(data: st.DataObject, n: int) -> None:
    first = data.draw(st.integers(0, n))
    second = data.draw(st.integers(0, n - first))
    both = data.draw(st.integers(0, n - first - second))
    pairs = ((tango(first, second, n), tango(second, first, n)),)
    pairs += ((newcombe(first, second, both, n), newcombe(second, first, both, n)),)
    for ours, mirrored in pairs:
        assert -1 <= ours.low <= (first - second) / n + 1e-12
        assert (first - second) / n - 1e-12 <= ours.high <= 1
        assert (ours.low, ours.high) == pytest.approx((-mirrored.high, -mirrored.low), abs=1e-6)


@pytest.mark.parametrize(
    ("interval", "worst", "mean"), [(wilson, 0.83, 0.94), (clopper_pearson, 0.95, 0.95)], ids=["wilson", "exact"]
)
@pytest.mark.parametrize("n", [8, 32, 64, 200])
def test_coverage_of_shares(interval: Callable[[int, int], Interval], worst: float, mean: float, n: int) -> None:
    counts = np.arange(n + 1)
    found = [interval(k, n) for k in range(n + 1)]
    low, high = np.array([i.low for i in found]), np.array([i.high for i in found])
    covered = [(binom.pmf(counts, n, p) * ((low <= p) & (p <= high))).sum() for p in np.linspace(0, 1, 401)]
    assert min(covered) >= worst - 1e-9  # Wilson's where hardly anything ever happens
    assert np.mean(covered) >= mean
    assert np.mean(covered) <= 0.99  # and no interval of [0, 1]


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("n", [64, 200, *(pytest.param(n, marks=pytest.mark.slow) for n in (32, 500))])
def test_coverage_of_tango(n: int, rates: tuple[float, float]) -> None:
    covered, true = 0.0, rates[0] - rates[1]
    for first, second, probability in outcomes(n, *rates):
        interval = paired(first, second, n)
        covered += probability * (interval.low - 1e-9 <= true <= interval.high + 1e-9)
    assert 0.933 <= covered <= 1 + 1e-6  # 0.9331 at n = 200 with 2 % flips to one side and none to the other
    if n * sum(rates) > 10:
        assert covered == pytest.approx(0.95, abs=0.013)


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize(("n", "right"), [(32, 0.3), (64, 0.9), pytest.param(64, 0.3, marks=pytest.mark.slow)])
def test_coverage_of_newcombe(n: int, right: float, rates: tuple[float, float]) -> None:
    agree, true = 1 - sum(rates), rates[0] - rates[1]
    share = min(right / agree, 1.0)
    covered = 0.0
    for first, second, probability in outcomes(n, *rates, least=1e-6):
        for both in likely(n - first - second, share, least=1e-5):
            interval = newcombe(first, second, both, n)
            inside = interval.low - 1e-9 <= true <= interval.high + 1e-9
            covered += probability * binom.pmf(both, n - first - second, share) * inside
    assert 0.945 <= covered <= 1 + 1e-6


@pytest.mark.parametrize("n", [200, 500])
@pytest.mark.parametrize("won", [0.0, 0.005, 0.02, 0.1])
def test_an_engine_that_loses_the_margin_passes_in_three_of_a_hundred_cases_at_most(n: int, won: float) -> None:
    passes = sum(p for first, second, p in outcomes(n, won + 0.02, won) if paired(first, second, n).high < 0.02)
    assert passes <= 0.03


def test_no_flips_need_189_samples_for_a_margin_of_two_points() -> None:
    assert tango(0, 0, 188).high > 0.02 > tango(0, 0, 189).high
    assert samples_to_decide(0, 0, 50, 0.02) == 189


@pytest.mark.parametrize(
    ("lost", "won", "n"), [(3, 1, 200), (9, 2, 200), (10, 2, 240), (2, 0, 150), (1, 1, 200), (8, 8, 200), (20, 2, 200)]
)
def test_samples_to_decide_decide_in_four_of_five_cases(lost: int, won: int, n: int) -> None:
    needed, even = samples_to_decide(lost, won, n, 0.02), samples_to_decide(lost, won, n, 0.02, power=0.5)
    assert needed is not None
    assert even is not None
    assert decided(lost / n, won / n, needed) == pytest.approx(0.8, abs=0.045)
    assert decided(lost / n, won / n, even) == pytest.approx(0.5, abs=0.085)


def test_the_interval_at_exactly_these_rates_turns_decided_where_the_power_is_even() -> None:
    needed = samples_to_decide(5, 2, 200, 0.02, power=0.5)
    assert needed is not None
    scaled = [tango(5 * n / 200, 2 * n / 200, n) for n in (needed - 1, needed)]
    assert scaled[0].high >= 0.02 > scaled[1].high


def test_no_number_decides_what_lies_on_the_margin() -> None:
    assert samples_to_decide(4, 0, 200, 0.02) is None


def test_nothing_known_without_samples() -> None:
    for share in (wilson(0, 0), clopper_pearson(0, 0)):
        assert (share.low, share.high) == (0.0, 1.0)
    for difference in (tango(0, 0, 0), newcombe(0, 0, 0, 0)):
        assert (difference.low, difference.high) == (-1.0, 1.0)
    assert mcnemar(0, 0) == 1.0


def likely(n: int, p: float, least: float = 1e-9) -> range:
    """Every outcome of a binomial (n, p) but the rarest."""
    return range(max(int(binom.ppf(least, n, p)), 0), int(binom.ppf(1 - least, n, p)) + 1)


def outcomes(n: int, first: float, second: float, least: float = 1e-9) -> Iterator[tuple[int, int, float]]:
    """Every pair of flip counts among `n` that is not exceedingly rare, with its probability."""
    for a in likely(n, first, least):
        for b in likely(n - a, second / (1 - first), least):
            yield a, b, float(multinomial.pmf([a, b, n - a - b], n, [first, second, 1 - first - second]))


def decided(first: float, second: float, n: int, margin: float = 0.02) -> float:
    """Exact probability that n pairs with these rates of flips decide about the margin."""
    total = 0.0
    for a in likely(n, first):
        b = np.arange(likely(n - a, second / (1 - first)).start, likely(n - a, second / (1 - first)).stop)
        scores = [((a - k) / n - margin) * math.sqrt(n / score_variance(a / n, k / n, margin)) for k in b.tolist()]
        weights = binom.pmf(a, n, first) * binom.pmf(b, n - a, second / (1 - first))
        total += float(weights[np.abs(scores) > quantile(0.95)].sum())
    return total
