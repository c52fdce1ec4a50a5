"""`benchmarks/optimality_bench/measure.py`: the area under security curves and local optimality, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from optimality_bench.measure import area, best_of, lead, local_optimality, robust_accuracy
from optimality_bench.summary import judge


def test_area_is_the_integral_of_the_security_curve() -> None:
    distances = np.array([0.0, 0.1, 0.25, 0.5, 0.7, np.inf])
    radii = (np.arange(100_000) + 0.5) / 100_000
    curve = np.array([robust_accuracy(distances, radius) for radius in radii[::100]])
    assert area(distances, 1.0) == pytest.approx(curve.mean(), abs=1e-3)
    assert area(distances, 1.0) == pytest.approx((0 + 0.1 + 0.25 + 0.5 + 0.7 + 1) / 6)
    assert area(distances, 0.3) == pytest.approx((0 + 0.1 + 0.25 + 0.3 + 0.3 + 0.3) / 6)


def test_optimality_by_hand() -> None:
    first, second = np.array([0.0, 0.2, 0.8, np.inf]), np.array([0.0, 0.4, 0.6, np.inf])
    best = best_of([first, second])
    np.testing.assert_array_equal(best, [0.0, 0.2, 0.6, np.inf])
    # areas 0.5, 0.5 and 0.45; without an attack 0.75: 1 - 0.05 / 0.3
    assert local_optimality(first, best, 1.0) == pytest.approx(5 / 6)
    assert local_optimality(second, best, 1.0) == pytest.approx(5 / 6)
    assert local_optimality(best, best, 1.0) == 1.0
    assert local_optimality(np.array([0.0, np.inf, np.inf, np.inf]), best, 1.0) == pytest.approx(0.0)
    # what lies beyond the limit is nothing found: with 0.5 the best has only the second sample
    assert local_optimality(second, best, 0.5) == pytest.approx(1 - 0.2 / 0.3)


def test_optimality_is_undefined_where_nobody_finds_anything() -> None:
    none = np.array([0.0, np.inf, np.inf])
    assert local_optimality(none, none, 1.0) is None
    assert lead(none, none, none, 1.0) is None


def test_lead_is_the_difference_of_optimalities_and_its_interval_knows_the_samples() -> None:
    rng = np.random.default_rng(0)
    theirs_, gain = rng.uniform(0.3, 1.2, size=400), rng.uniform(0.0, 0.1, size=400)
    ours_ = theirs_ - gain
    best = best_of([ours_, theirs_ - 0.05])
    found = lead(ours_, theirs_, best, 1.0)
    scores = [local_optimality(each, best, 1.0) for each in (ours_, theirs_)]
    assert found is not None
    assert scores[0] is not None
    assert scores[1] is not None
    assert found["difference"] == pytest.approx(scores[0] - scores[1])
    low, high = found["interval"]
    assert 0 < low < found["difference"] < high
    back = lead(theirs_, ours_, best, 1.0)
    assert back is not None
    assert back["interval"] == pytest.approx([-high, -low])


@pytest.mark.parametrize(
    ("difference", "high", "left_more", "met"),
    [
        (0.0, 0.0, 0.0, "yes"),
        (0.1, 0.2, 0.005, "yes"),
        (-0.01, 0.01, 0.0, "within the interval"),
        (-0.02, -0.01, 0.0, "NO"),
        (0.1, 0.2, 0.006, "NO"),  # nearer on most samples, but more than half a point left at the radius
    ],
)
def test_goal(difference: float, high: float, left_more: float, met: str) -> None:
    assert judge(difference, high, left_more) == met
