"""Two calls timed in turn: what disturbs one disturbs its neighbour, and their ratio hardly."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, thread_time_ns

import numpy as np
from gpu_bench.rows import Spread
from numpy.typing import NDArray

WARM_UP = 10
LEAST = 20  # pairs
RESAMPLES = 200

Pairs = NDArray[np.float64]


def time_in_turn(first: Callable[[], object], second: Callable[[], object], seconds: float) -> Pairs:
    """CPU milliseconds (n, 2) of two calls, for `seconds` and at least twenty pairs; who begins alternates."""
    for _ in range(WARM_UP):
        first()
        second()
    found: list[tuple[int, int]] = []
    end = perf_counter() + seconds
    while len(found) < LEAST or perf_counter() < end:
        if len(found) % 2:
            late = nanoseconds(second)
            early = nanoseconds(first)
        else:
            early = nanoseconds(first)
            late = nanoseconds(second)
        found.append((early, late))
    return np.asarray(found, np.float64) / 1e6


def nanoseconds(call: Callable[[], object]) -> int:
    """CPU time of one call on this thread, never zero: waiting for a core that others use is no part of it."""
    start = thread_time_ns()
    call()
    return max(1, thread_time_ns() - start)


def median_ratio(pairs: Pairs) -> Spread:
    """Median of first / second over neighbours, with its distribution-free interval."""
    return Spread.of(list(pairs[:, 0] / pairs[:, 1]))


def tail_ratio(pairs: Pairs, percentile: float = 99.0) -> Spread:
    """Ratio of a percentile of the first to that of the second; its interval from resampled pairs."""

    def ratio(some: Pairs) -> float:
        first, second = np.percentile(some, percentile, axis=0)
        return float(first / second)

    rng = np.random.default_rng(0)
    drawn = [ratio(pairs[rng.integers(0, len(pairs), len(pairs))]) for _ in range(RESAMPLES)]
    low, high = (float(end) for end in np.percentile(drawn, (2.5, 97.5)))
    middle = ratio(pairs)
    return Spread(middle, min(low, middle), max(high, middle), len(pairs), 0.95)
