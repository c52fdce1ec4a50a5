"""`benchmarks/sequential.py` in small: what it counts is what the tests of a report would decide."""

from __future__ import annotations

import numpy as np
from sequential import TRIED, chosen_afterwards, draw, false_passes, fixed_pass, power, sequential_pass

from advcal_edge.sequential import Path
from advcal_edge.stats import MARGIN, tango


def test_passes_are_those_of_the_tests() -> None:
    lost, gained = np.array([0, 0, 1, 9, 0]), np.array([0, 2, 0, 1, 0])
    fixed = [tango(int(a), int(b), 272).high < MARGIN for a, b in zip(lost, gained, strict=True)]
    assert fixed_pass(lost, gained, 272).tolist() == fixed == [True, True, False, False, True]
    assert sequential_pass(lost, gained, 272).tolist() == [True, True, False, False, True]
    assert not sequential_pass(lost, gained, 256)[0]
    assert Path.of(np.ones(272, np.bool_), np.ones(272, np.bool_), MARGIN).decided == 272


def test_flips_have_the_rates_that_were_asked_for() -> None:
    found = [
        (n, lost.mean() / n, gained.mean() / n)
        for n, lost, gained in draw(np.random.default_rng(0), 500, (0.2, 0.1), (50, 200))
    ]
    assert [n for n, _, _ in found] == [50, 200]
    np.testing.assert_allclose([rates for _, *rates in found], [[0.2, 0.1]] * 2, atol=0.01)


def test_tables_have_a_row_per_rate() -> None:
    rng = np.random.default_rng(0)
    bad = [*false_passes(rng, 20)]
    assert [row[1] for row in bad] == ["2", "2", "2", "2", "3", "5"]
    assert next(power(rng, 20))[:4] == ("0 / 0", "272", "272", "200")
    assert all(len(row) == 4 for row in chosen_afterwards(rng, 20))
    assert [*TRIED] == sorted(TRIED)
