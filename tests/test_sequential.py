"""The sequential test against direct products, integrals and the authors' own library, and its errors by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from scipy.integrate import quad

from advcal_edge.sequential import BETS, LOOK, Path, Tally, last_decided, log_capital, looks, threshold
from advcal_edge.stats import LEVEL, tango

MARGIN = 0.02
RATES = ((0.02, 0.0), (0.03, 0.01), (0.07, 0.05), (0.12, 0.1))
"""Lost and gained: a drop of the margin each."""


def counts(*values: float) -> tuple[NDArray[np.int64], ...]:
    return tuple(np.array([value]) for value in values)


def sides(differences: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Reference and engine whose difference is this."""
    return differences >= 0, differences <= 0


def draw(rng: np.random.Generator, n: int, lost: float, gained: float) -> NDArray[np.int64]:
    return rng.choice([1, -1, 0], n, p=[lost, gained, 1 - lost - gained])


@given(lost=st.integers(0, 40), gained=st.integers(0, 40), same=st.integers(0, 900), drop=st.floats(-0.5, 0.5))
def test_the_capital_is_a_mean_of_products_over_all_bets(lost: int, gained: int, same: int, drop: float) -> None:
    bets = BETS / (1 - drop)
    products = (1 + bets * (drop - 1)) ** lost * (1 + bets * drop) ** same * (1 + bets * (drop + 1)) ** gained
    found = log_capital(*counts(lost, gained, lost + gained + same), drop)
    assert found[0] == pytest.approx(np.log10(products.mean()), abs=1e-9)


@pytest.mark.parametrize(("lost", "gained", "n"), [(0, 0, 272), (5, 3, 500), (1, 9, 800), (20, 2, 300)])
def test_the_mixture_is_close_to_its_integral(lost: int, gained: int, n: int) -> None:
    def product(share: float) -> float:
        bet = share / (1 - MARGIN)
        same = (1 + bet * MARGIN) ** (n - lost - gained)
        return float((1 - share) ** lost * same * (1 + bet * (1 + MARGIN)) ** gained)

    integral, _ = quad(product, 0, 1, limit=200)
    assert log_capital(*counts(lost, gained, n), MARGIN)[0] == pytest.approx(np.log10(integral), abs=2e-3)


@pytest.mark.parametrize(("lost", "gained"), RATES)
def test_no_bet_gains_on_average_at_the_margin(lost: float, gained: float) -> None:
    """One more sample changes the mean capital by nothing, whatever came before: the capital is a martingale."""
    for before in ((0, 0, 40), (3, 1, 100)):
        a, b, n = before
        after = [log_capital(*counts(a + i, b + j, n + 1), MARGIN)[0] for i, j in ((1, 0), (0, 1), (0, 0))]
        mean = float(np.dot(10 ** np.array(after), [lost, gained, 1 - lost - gained]))
        assert mean == pytest.approx(10 ** log_capital(*counts(*before), MARGIN)[0], rel=1e-9)
        against = [log_capital(*counts(b + j, a + i, n + 1), -MARGIN)[0] for i, j in ((1, 0), (0, 1), (0, 0))]
        mean = float(np.dot(10 ** np.array(against), [lost, gained, 1 - lost - gained]))
        assert mean == pytest.approx(10 ** log_capital(*counts(b, a, n), -MARGIN)[0], rel=1e-9)


def test_the_authors_library_bets_as_we_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "float_", np.float64, raising=False)  # it was written for NumPy 1
    betting = pytest.importorskip(
        "confseq.betting", reason="confseq 0.0.11 has wheels for Python 3.10 alone; elsewhere it needs a compiler"
    )
    d = draw(np.random.default_rng(1), 400, 0.02, 0.01)
    unit, null = (1 - d) / 2, (1 - MARGIN) / 2  # its variables lie in [0, 1]; a small drop is a large mean
    capital = np.zeros(len(d))
    for share in BETS:
        bet = share / null
        martingale = betting.betting_mart(
            unit, null, theta=1, lambdas_fn_positive=lambda x, m, bet=bet: np.full(len(x), bet), trunc_scale=1
        )
        capital += martingale / len(BETS)
    lost, gained = np.cumsum(d == 1), np.cumsum(d == -1)
    ours = log_capital(lost, gained, np.arange(1, len(d) + 1), MARGIN)
    np.testing.assert_allclose(ours, np.log10(capital), atol=1e-9)


@pytest.mark.parametrize(("lost", "gained"), RATES)
def test_false_passes_at_the_margin_are_rarer_than_the_level(lost: float, gained: float) -> None:
    """Whenever one stops: over all looks of 1,500 runs of 2,048 samples."""
    rng, runs, ends = np.random.default_rng(4), 1500, np.arange(LOOK, 2049, LOOK)
    flips = rng.multinomial(LOOK, (lost, gained, 1 - lost - gained), (runs, len(ends)))
    one, other = np.cumsum(flips[..., 0], axis=1), np.cumsum(flips[..., 1], axis=1)
    passing, failing = np.full(runs, -np.inf), np.full(runs, -np.inf)
    for k, end in enumerate(ends):
        n = np.full(runs, end)
        passing = np.maximum(passing, log_capital(one[:, k], other[:, k], n, MARGIN))
        failing = np.maximum(failing, log_capital(other[:, k], one[:, k], n, -MARGIN))
    for evidence in (passing, failing):
        assert (evidence >= threshold(LEVEL)).mean() <= LEVEL


def test_engines_pass_after_as_many_samples_as_published() -> None:
    same = np.zeros(272, np.int64)
    assert Path.of(*sides(same), MARGIN).decided == 272
    assert Path.of(*sides(same[:256]), MARGIN).decided is None
    rng = np.random.default_rng(2)
    decided = [Path.of(*sides(draw(rng, 2048, 0.01, 0.01)), MARGIN).decided or 9999 for _ in range(101)]
    assert 400 <= np.median(decided) <= 700  # 544 in 10,000 runs of benchmarks/sequential.py


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), rates=st.sampled_from([(0.0, 0.0), (0.01, 0.01), (0.05, 0.0), (0.2, 0.1)]))
def test_the_interval_says_what_the_verdict_says(seed: int, rates: tuple[float, float]) -> None:
    path = Path.of(*sides(draw(np.random.default_rng(seed), 700, *rates)), MARGIN)
    interval, verdict = path.interval, path.verdict
    assert -1 <= interval.low <= interval.high <= 1
    assert (interval.high < MARGIN) is (verdict == "pass")
    assert (interval.low > MARGIN) is (verdict == "fail")
    assert (path.decided is None) is (verdict == "inconclusive")


def test_the_sequence_covers_and_is_wider_than_one_interval() -> None:
    rng, covered = np.random.default_rng(8), 0
    for _ in range(200):
        d = draw(rng, 600, 0.05, 0.03)
        path = Path.of(*sides(d), MARGIN)
        covered += path.interval.low <= 0.02 <= path.interval.high
    assert covered >= 190
    fixed = tango(int((d == 1).sum()), int((d == -1).sum()), 600)
    assert path.interval.high - path.interval.low > fixed.high - fixed.low


@given(seed=st.integers(0, 2**31), cuts=st.lists(st.integers(1, 200), min_size=1, max_size=8))
def test_blocks_of_any_size_come_to_the_same_verdict(seed: int, cuts: list[int]) -> None:
    n = sum(cuts)
    reference, engine = sides(draw(np.random.default_rng(seed), n, 0.03, 0.02))
    tally, start = Tally(MARGIN), 0
    for size in cuts:
        tally.add(reference[start : start + size], engine[start : start + size])
        start += size
    every = Path.of(reference, engine, MARGIN)
    assert (tally.n, tally.lost, tally.gained) == (n, every.lost[-1], every.gained[-1])
    assert tally.passing >= max(0.0, every.passing.max()) - 1e-12  # it also looks at the ends of blocks


def test_a_tally_of_whole_looks_is_the_path() -> None:
    reference, engine = sides(draw(np.random.default_rng(3), 640, 0.03, 0.0))
    tally = Tally(MARGIN)
    for start in range(0, 640, 64):
        tally.add(reference[start : start + 64], engine[start : start + 64])
    path = Path.of(reference, engine, MARGIN)
    assert tally.passing == pytest.approx(max(0.0, path.passing.max()))
    assert tally.failing == pytest.approx(max(0.0, path.failing.max()))
    assert tally.verdict == path.verdict


def test_an_early_decision_stays() -> None:
    """Evidence counts when it is seen: a later loss does not take it back, and no earlier look changes."""
    d = np.zeros(400, np.int64)
    d[300:306] = 1
    short, long = Path.of(*sides(d[:288]), MARGIN), Path.of(*sides(d), MARGIN)
    assert long.passing[-1] < threshold(LEVEL)
    assert (short.verdict, short.decided) == (long.verdict, long.decided) == ("pass", 272)
    np.testing.assert_array_equal(long.passing[: len(short.passing)], short.passing)


def test_evidence_for_both_decides_nothing() -> None:
    d = np.concatenate([np.zeros(272, np.int64), np.ones(120, np.int64)])
    path = Path.of(*sides(d), MARGIN)
    assert (path.verdict, path.decided) == ("inconclusive", None)
    assert path.interval.low <= MARGIN <= path.interval.high


def test_looks() -> None:
    assert looks(48).tolist() == [16, 32, 48]
    assert looks(40).tolist() == [16, 32, 40]
    assert looks(8).tolist() == [8]
    assert looks(64, 32).tolist() == [48, 64]
    assert looks(70, 64).tolist() == [70]


def test_samples_that_would_decide_do_decide_at_the_same_rates() -> None:
    open_path = Path.of(*sides(np.zeros(100, np.int64)), MARGIN)
    assert open_path.samples_to_decide == 266
    assert Path.of(*sides(np.zeros(272, np.int64)), MARGIN).samples_to_decide is None
    undecidable = np.zeros(100, np.int64)
    undecidable[:2] = 1  # exactly the margin
    assert Path.of(*sides(undecidable), MARGIN).samples_to_decide is None


def test_the_first_fail_decides_and_else_the_last_pass() -> None:
    good, later = Path.of(*sides(np.zeros(300, np.int64)), MARGIN), np.zeros(800, np.int64)
    later[10] = 1
    slow, bad = Path.of(*sides(later), MARGIN), Path.of(*sides(np.ones(300, np.int64)), MARGIN)
    assert last_decided([good, slow]) == slow.decided
    assert slow.decided is not None
    assert slow.decided > 272
    assert last_decided([good, bad, slow]) == bad.decided
    assert last_decided([good, Path.of(*sides(later[:100]), MARGIN)]) is None
