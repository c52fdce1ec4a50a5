"""Intervals for shares and paired differences, a test of paired flips, and the number of samples that would decide."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

MARGIN = 0.02  # default for the largest drop, as a fraction of samples, that counts as parity
LEVEL = 0.025  # largest probability that a test passes an engine whose drop is the margin


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of a fraction or of a difference of fractions."""

    low: float
    high: float

    def to_json(self) -> list[float]:
        """[low, high]."""
        return [self.low, self.high]


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Score interval of a share (Wilson 1927); [0, 1] without samples."""
    if n == 0:
        return Interval(0.0, 1.0)
    z = quantile(confidence)
    share = successes / n
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # the ends are exact for shares of 0 and 1; rounding would leave those just outside
    low = (centre - spread) / scale if successes else 0.0
    return Interval(low, (centre + spread) / scale if successes < n else 1.0)


@lru_cache(maxsize=4096)  # a report needs the same counts many times
def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Exact interval of a share (Clopper and Pearson 1934, Biometrika 26:404-413); [0, 1] without samples.

    Its coverage is at least `confidence` for every share and every n, so it is wider.
    """
    tail = (1 - confidence) / 2
    low, high, failures = 0.0, 1.0, n - successes
    if successes:
        low = bisect(lambda p: binomial_tail(successes, n, p) - tail, 1.0, 0.0)
    if failures:
        high = bisect(lambda p: binomial_tail(failures, n, 1 - p) - tail, 0.0, 1.0)
    return Interval(low, high)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value that both kinds of flips are equally likely (McNemar 1947, Psychometrika 12:153-157).

    Given their number, flips are then tosses of a fair coin; the test never rejects more often than its level.
    """
    flips, most = only_first + only_second, max(only_first, only_second)
    return min(1.0, 2 * binomial_tail(most, flips, 0.5))


def upper_bound(successes: int, n: int, confidence: float = 0.95) -> float:
    """One-sided upper bound of a share (Clopper and Pearson 1934); 1 without samples.

    It lies below the true share with a probability of 1 - `confidence` at most, for every share and every n.
    """
    return clopper_pearson(successes, n, 2 * confidence - 1).high


@lru_cache(maxsize=4096)
def tango(only_first: int, only_second: int, n: int, confidence: float = 0.95) -> Interval:
    """Score interval of a paired difference p1 - p2 (Tango 1998, Statistics in Medicine 17:891-908).

    `only_first` of `n` pairs succeed only on the first side and `only_second` only on the second; pairs that agree
    count only through `n`. The bounds are where the score statistic reaches the normal quantile.
    """
    if n == 0:
        return Interval(-1.0, 1.0)
    z = quantile(confidence)
    difference = (only_first - only_second) / n

    def score(delta: float) -> float:
        variance = score_variance(only_first / n, only_second / n, delta)
        return (difference - delta) * math.sqrt(n / variance) if variance > 0 else math.inf

    low = bisect(lambda d: score(d) - z, -1.0, difference) if difference > -1 else -1.0
    high = bisect(lambda d: -score(d) - z, 1.0, difference) if difference < 1 else 1.0
    return Interval(low, high)


def newcombe(only_first: int, only_second: int, both: int, n: int, confidence: float = 0.95) -> Interval:
    """Hybrid score interval of a paired difference p1 - p2 (Newcombe 1998, Statistics in Medicine 17:2635, method 10).

    Two Wilson intervals, squared and added, minus the correlation of the pairs; `both` of `n` pairs succeed on both
    sides. If it and `tango` disagree about a margin, the margin is too close to decide.
    """
    if n == 0:
        return Interval(-1.0, 1.0)
    neither = n - both - only_first - only_second
    first, second = both + only_first, both + only_second
    spread = first * (n - first) * second * (n - second)
    excess = float(both * neither - only_first * only_second)
    if excess > 0:
        excess = max(excess - n / 2, 0.0)  # continuity correction, for positive correlations only
    phi = excess / math.sqrt(spread) if spread else 0.0
    difference = (first - second) / n
    one, two = wilson(first, n, confidence), wilson(second, n, confidence)
    down, up = (first / n - one.low, two.high - second / n), (second / n - two.low, one.high - first / n)
    low, high = (math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0)) for a, b in (down, up))
    return Interval(max(-1.0, difference - low), min(1.0, difference + high))


def samples_to_decide(
    only_first: int, only_second: int, n: int, margin: float, confidence: float = 0.95, power: float = 0.8
) -> int | None:
    """Samples at which Tango's interval lies on one side of `margin` with probability `power`, at the observed rates.

    Asymptotic (Nam 1997, Biometrics 53:1422-1430): the score statistic has unit variance at the margin, and the
    variance of the rates elsewhere. None if no number below ten million would suffice.
    """
    first, second = only_first / n, only_second / n
    gap = abs(first - second - margin)
    at_margin = math.sqrt(score_variance(first, second, margin))
    at_rates = math.sqrt(first + second - (first - second) ** 2)
    reach = quantile(confidence) * at_margin + inverse_normal(power) * at_rates
    if gap <= reach / math.sqrt(10_000_000):
        return None
    return math.floor((reach / gap) ** 2) + 1


def score_variance(first: float, second: float, delta: float) -> float:
    """Variance of one pair's difference where p1 - p2 = delta; the flips' rates are estimated under it (Tango 1998)."""
    b, c = (2 - first + second) * delta - first - second, -second * delta * (1 - delta)
    q = (math.sqrt(max(b * b - 8 * c, 0.0)) - b) / 4
    return 2 * q + delta * (1 - delta)


def binomial_tail(k: int, n: int, p: float) -> float:
    """P(X >= k) for X binomial(n, p), summed outwards from k until terms are negligible."""
    if k <= 0 or p >= 1:
        return 1.0
    if k > n or p <= 0:
        return 0.0
    if k <= n * p:  # sum the shorter side, where terms decrease from the start
        return 1.0 - binomial_tail(n - k + 1, n, 1 - p)
    combinations = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    term = math.exp(combinations + k * math.log(p) + (n - k) * math.log1p(-p))
    total = term
    while k < n and term > total * 1e-17:
        term *= (n - k) / (k + 1) * p / (1 - p)
        k, total = k + 1, total + term
    return min(total, 1.0)


def quantile(confidence: float) -> float:
    """Two-sided normal quantile, 1.96 for 0.95."""
    return inverse_normal(0.5 + confidence / 2)


def bisect(function: Callable[[float], float], outside: float, inside: float) -> float:
    """Root between `outside`, where the function is positive, and `inside`, where it is not; to 1e-10."""
    while abs(inside - outside) > 1e-10:
        middle = (inside + outside) / 2
        if function(middle) > 0:
            outside = middle
        else:
            inside = middle
    return inside


def inverse_normal(probability: float) -> float:
    """Quantile of the normal distribution."""
    from statistics import NormalDist  # imports decimal and random, while the runtime needs only the margin

    return NormalDist().inv_cdf(probability)
