"""What became of the frames of a stream, and how long they took, in a fixed amount of memory."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

FIRST = 1e-6
"""Seconds: the end of the first bin."""

STEP = 1.02
"""Ratio of the ends of a bin: a percentile is within 1 % of the true one."""

BINS = 1050
"""Up to 1070 seconds; what took longer is in the last bin."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts of frames, and percentiles of the latency of results: seconds from the arrival of a frame to its result.

    Every frame that arrived is one of `results`, `errors`, `replaced`, `late`, or still waits. Percentiles are over the
    whole stream, within 1 %; None before the first result.
    """

    frames: int
    """Frames that the source gave, those that cannot be read included."""
    results: int
    errors: int
    """Results with an error in place of an embedding."""
    replaced: int
    """Frames that a newer one replaced before the engine was free."""
    late: int
    """Frames that were dropped because they, or their results, were older than the deadline."""
    seconds: float
    """Since the stream was opened, until it was closed."""
    p50: float | None
    p95: float | None
    p99: float | None
    largest: float | None

    @property
    def rate(self) -> float:
        """Results with an embedding per second."""
        return self.results / self.seconds if self.seconds > 0 else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {**asdict(self), "rate": self.rate}


class Latencies:
    """Percentiles of any number of durations: counts in bins whose width is a constant share of their place."""

    def __init__(self) -> None:
        self._counts = np.zeros(BINS, np.int64)
        self._scale = 1 / math.log(STEP)
        self._shortest, self._longest = math.inf, 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        place = int(math.log(seconds / FIRST) * self._scale) + 1 if seconds > FIRST else 0
        self._counts[min(place, BINS - 1)] += 1
        self._shortest, self._longest = min(self._shortest, seconds), max(self._longest, seconds)

    def percentile(self, percent: float) -> float | None:
        """The duration that `percent` % of all do not exceed, within 1 %; None if there are none."""
        upto = np.cumsum(self._counts)
        total = int(upto[-1])
        if total == 0:
            return None
        place = int(np.searchsorted(upto, max(1, math.ceil(percent / 100 * total))))
        middle: float = FIRST * STEP ** (place - 0.5)
        return min(max(middle, self._shortest), self._longest)

    @property
    def largest(self) -> float | None:
        """The longest duration, exactly; None if there are none."""
        return self._longest if self._counts.any() else None
