"""Intervals for shares and for paired differences, and how many samples would decide."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

MARGIN = 0.02  # largest drop, as a fraction of samples, that counts as parity unless somebody says otherwise


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of a fraction or of a difference of fractions."""

    low: float
    high: float

    def to_json(self) -> list[float]:
        """[low, high]."""
        return [self.low, self.high]


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Score interval of a share (Wilson 1927); [0, 1] where there are no samples."""
    if n == 0:
        return Interval(0.0, 1.0)
    z = quantile(confidence)
    share = successes / n
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return Interval(max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))


def tango(only_first: int, only_second: int, n: int, confidence: float = 0.95) -> Interval:
    """Score interval of a paired difference p1 - p2 (Tango 1998, Statistics in Medicine 17:891-908).

    `only_first` of `n` pairs succeed on the first side alone and `only_second` on the second alone; pairs that agree
    count only through `n`. The bounds are where the score statistic reaches the normal quantile.
    """
    if n == 0:
        return Interval(-1.0, 1.0)
    z = quantile(confidence)
    difference = (only_first - only_second) / n

    def score(delta: float) -> float:
        a, b = 2 * n, (2 * n - only_first + only_second) * delta - only_first - only_second
        c = -only_second * delta * (1 - delta)
        q = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        variance = n * (2 * q + delta * (1 - delta))
        return (only_first - only_second - n * delta) / math.sqrt(variance) if variance > 0 else math.inf

    low = bisect(lambda d: score(d) - z, -1.0, difference) if difference > -1 else -1.0
    high = bisect(lambda d: -score(d) - z, 1.0, difference) if difference < 1 else 1.0
    return Interval(low, high)


def samples_to_decide(only_first: int, only_second: int, n: int, margin: float, confidence: float = 0.95) -> int | None:
    """Samples at which the same rates of flips would put the whole interval on one side of `margin`.

    None where the observed difference is too close to the margin for any number below ten million.
    """

    def decided(factor: float) -> bool:
        size = round(n * factor)
        interval = tango(round(only_first * factor), round(only_second * factor), size, confidence)
        return interval.high < margin or interval.low > margin

    factor = 1.0
    while n * factor < 10_000_000:
        if decided(factor):
            return math.ceil(n * factor)
        factor *= 1.1
    return None


def quantile(confidence: float) -> float:
    """Two-sided normal quantile, 1.96 for 0.95."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def bisect(function: Callable[[float], float], outside: float, inside: float) -> float:
    """Root between `outside`, where the function is positive, and `inside`, where it is not; to 1e-10."""
    while abs(inside - outside) > 1e-10:
        middle = (inside + outside) / 2
        if function(middle) > 0:
            outside = middle
        else:
            inside = middle
    return inside
