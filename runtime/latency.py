"""Latency of a call and our share of it: the call and its bare counterpart, timed in turn in one loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import ConfigError

Call = Callable[[NDArray[np.float32]], object]
Z = 1.96
WARM_UP = 10  # calls of each kind before timing starts: lazy allocations, caches, clock frequency


@dataclass(frozen=True, slots=True)
class Latency:
    """Times of one call in milliseconds; `variation` is deviation over mean, `throughput` samples per second."""

    p50: float
    p90: float
    p99: float
    mean: float
    variation: float
    throughput: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """A call and its bare counterpart on the same batch; `ratio` is the median over neighbouring pairs of calls.

    `low` to `high` is its distribution-free 95 % interval.
    """

    batch: int
    iterations: int
    call: Latency
    bare: Latency
    ratio: float
    low: float
    high: float

    def to_json(self) -> dict[str, Any]:
        """Plain types for a report."""
        return asdict(self)


def measure(
    call: Call,
    bare: Call,
    x: NDArray[np.float32],
    *,
    seconds: float = 3.0,
    min_iterations: int = 20,
    warm_up: int = WARM_UP,
) -> Measurement:
    """Time `call` and `bare` on x (n, ...) in turn, for `seconds` and at least `min_iterations` pairs.

    Raises:
        ConfigError: an empty batch, or no iterations.
    """
    if len(x) == 0 or min_iterations < 1:
        raise ConfigError(f"found a batch of {len(x)} and {min_iterations} iterations; expected at least one of each")
    for _ in range(warm_up):
        call(x)
        bare(x)
    times: list[tuple[int, int]] = []
    deadline = perf_counter_ns() + int(seconds * 1e9)
    while len(times) < min_iterations or perf_counter_ns() < deadline:
        if len(times) % 2:  # the order alternates, so that neither always has warm caches
            second = clock(bare, x)
            first = clock(call, x)
        else:
            first = clock(call, x)
            second = clock(bare, x)
        times.append((first, second))
    pairs = np.asarray(times, np.float64) / 1e6
    call_times, bare_times = (summarise(column, len(x)) for column in pairs.T)
    return Measurement(len(x), len(pairs), call_times, bare_times, *median_interval(pairs[:, 0] / pairs[:, 1]))


def median_interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """The median of independent values, and the two of them that enclose the true one in 95 % of all cases.

    Their ranks are those of the normal approximation to the binomial; of fewer than 20 values they are the extremes.
    """
    ordered, n = np.sort(values), len(values)
    rank = max(0, int((n - Z * n**0.5) / 2)) if n >= 20 else 0
    return float(np.median(ordered)), float(ordered[rank]), float(ordered[n - 1 - rank])


def clock(call: Call, x: NDArray[np.float32]) -> int:
    """Nanoseconds of one call, never zero."""
    start = perf_counter_ns()
    call(x)
    return max(1, perf_counter_ns() - start)


def summarise(milliseconds: NDArray[np.float64], batch: int) -> Latency:
    """Percentiles, mean, variation and throughput of many calls on batches of `batch` samples."""
    p50, p90, p99 = (float(p) for p in np.percentile(milliseconds, (50, 90, 99)))
    mean = float(milliseconds.mean())
    return Latency(p50, p90, p99, mean, float(milliseconds.std()) / mean, 1000 * batch / mean)
