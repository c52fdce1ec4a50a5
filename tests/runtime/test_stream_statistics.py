"""Percentiles from bins: within a hundredth of the true ones, for durations of any length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from advcal_edge.runtime.stream_statistics import Latencies, Statistics


@given(st.lists(st.floats(1e-6, 900), min_size=1, max_size=200), st.sampled_from([1, 50, 95, 99, 100]))
def test_percentiles_are_within_a_hundredth(seconds: list[float], percent: float) -> None:
    latencies = Latencies()
    for each in seconds:
        latencies.add(each)
    true = float(np.percentile(seconds, percent, method="inverted_cdf"))
    assert latencies.percentile(percent) == pytest.approx(true, rel=0.01)
    assert latencies.largest == max(seconds)


def test_the_shortest_and_the_longest_durations_have_bins() -> None:
    latencies = Latencies()
    assert latencies.percentile(50) is None
    assert latencies.largest is None
    for seconds in (0.0, 1e-9, 1e9):
        latencies.add(seconds)
    assert latencies.percentile(1) is not None
    assert latencies.largest == 1e9


def test_a_rate() -> None:
    assert Statistics(9, 8, 1, 0, 0, 4.0, 1, 1, 1, 1).rate == 2
    assert Statistics(0, 0, 0, 0, 0, 0.0, None, None, None, None).to_json()["rate"] == 0
