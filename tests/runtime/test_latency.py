"""Times: percentiles that mean what they say, calls that alternate, a ratio of neighbours."""

from __future__ import annotations

import json
import time
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray
from tiny import BundleMaker

from advcal_edge.errors import ConfigError
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.latency import measure, summarise

X = np.zeros((4, 1), np.float32)


def test_calls_alternate_after_the_warm_up() -> None:
    order: list[str] = []
    found = measure(lambda _: order.append("call"), lambda _: order.append("bare"), X, seconds=0, min_iterations=4)
    assert found.iterations == 4
    assert order[-8:] == ["call", "bare", "bare", "call"] * 2
    assert order.count("call") == order.count("bare") > 4


def test_ratio_and_throughput() -> None:
    found = measure(
        lambda _: time.sleep(0.004), lambda _: time.sleep(0.002), X, seconds=0, min_iterations=20, warm_up=1
    )
    assert found.batch == 4
    assert 1.3 < found.ratio < 2.5
    assert found.call.throughput == pytest.approx(4000 / found.call.mean)
    assert found.call.p50 >= 4


def test_measures_for_as_long_as_told() -> None:
    start = time.perf_counter()
    found = measure(lambda _: time.sleep(0.001), lambda _: None, X, seconds=0.2, min_iterations=1)
    assert 0.2 <= time.perf_counter() - start < 5
    assert found.iterations > 1


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=50))
def test_percentiles_are_ordered(times: list[float]) -> None:
    latency = summarise(np.array(times), 2)
    assert min(times) <= latency.p50 <= latency.p90 <= latency.p99 <= max(times)
    assert latency.variation >= 0
    assert all(np.isfinite(list(asdict(latency).values())))


def test_json_is_plain(make_bundle: BundleMaker) -> None:
    embedder = Embedder.load(make_bundle().path)
    found = measure(embedder, embedder.runner.bare, np.zeros((2, 1, 8, 8), np.float32) + np.float32(0.5), seconds=0)
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["batch"] == 2
    assert data["call"]["p50"] > 0
    assert data["ratio"] > 1


@pytest.mark.parametrize(("x", "iterations"), [(X[:0], 5), (X, 0)])
def test_nothing_to_measure(x: NDArray[np.float32], iterations: int) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        measure(lambda _: None, lambda _: None, x, min_iterations=iterations)
