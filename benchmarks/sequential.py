"""False passes, power and samples of the sequential test beside a fixed number of samples, by simulation.

    python benchmarks/sequential.py [--runs 10000] [--seed 0]

Every sample flips on its own: the engine alone is wrong at the rate "lost", the reference alone at the rate "gained".
Prints three tables in Markdown: false passes at a drop of the margin and beyond, samples until a pass of an engine that
lost nothing on average, and what choosing the number of samples afterwards does to a fixed test.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from advcal_edge.report.history import level_of
from advcal_edge.sequential import LOOK, log_capital, threshold
from advcal_edge.stats import LEVEL, MARGIN, clopper_pearson, tango

MOST = 4096  # samples of a simulated run
AT_MARGIN = ((0.02, 0.0), (0.025, 0.005), (0.04, 0.02), (0.07, 0.05), (0.03, 0.0), (0.06, 0.01))
HONEST = ((0.0, 0.0), (0.01, 0.01), (0.01, 0.005), (0.02, 0.02))
FIXED = (200, 500, 800, 900)  # samples of the fixed test with about 80 % power at each of `HONEST`
TRIED = (200, 300, 400, 500, 750, 1000, 1500, 2000)  # chosen one after the other until one passes

Counts = NDArray[np.int64]


def draw(rng: np.random.Generator, runs: int, lost: float, gained: float, most: int) -> tuple[Counts, Counts]:
    """Flips so far (runs, looks) at each look."""
    flips = rng.multinomial(LOOK, (lost, gained, 1 - lost - gained), (runs, most // LOOK))
    one, other = np.cumsum(flips[..., 0], axis=1), np.cumsum(flips[..., 1], axis=1)
    return one, other


def first_pass(lost: Counts, gained: Counts, margin: float = MARGIN, level: float = LEVEL) -> Counts:
    """Samples (runs,) at the first look that passes; 0 where none does."""
    runs, looks = lost.shape
    n = np.arange(1, looks + 1) * LOOK
    capital = [log_capital(lost[:, k], gained[:, k], np.full(runs, n[k]), margin) for k in range(looks)]
    passed = np.stack(capital, 1) >= threshold(level)
    return np.where(passed.any(axis=1), n[passed.argmax(axis=1)], 0)


def fixed_pass(lost: Counts, gained: Counts, n: int, level: float = LEVEL) -> NDArray[np.bool_]:
    """Where (runs,) the fixed test passes with flips `lost` and `gained` (runs,) of n samples."""
    pairs, back = np.unique(np.stack([lost, gained], 1), axis=0, return_inverse=True)
    passes = np.array([tango(int(one), int(other), n, 1 - 2 * level).high < MARGIN for one, other in pairs])
    found: NDArray[np.bool_] = passes[back.reshape(-1)]
    return found


def share(count: int, runs: int) -> str:
    """Percent with its exact 95 % interval."""
    interval = clopper_pearson(count, runs)
    return f"{100 * count / runs:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def rate(lost: float, gained: float) -> str:
    """Lost and gained in percent."""
    return f"{100 * lost:g} / {100 * gained:g}"


def false_passes(rng: np.random.Generator, runs: int) -> Iterator[Sequence[str]]:
    """Rows: rates, drop, false passes of the sequential test at any look, and of the fixed one at 500 samples."""
    for lost, gained in AT_MARGIN:
        one, other = draw(rng, runs, lost, gained, MOST)
        ever = int((first_pass(one, other) > 0).sum())
        at = 496 // LOOK - 1
        fixed = int(fixed_pass(one[:, at], other[:, at], 496).sum())
        yield rate(lost, gained), f"{100 * (lost - gained):g}", share(ever, runs), share(fixed, runs)


def power(rng: np.random.Generator, runs: int) -> Iterator[Sequence[str]]:
    """Rows: rates, median and 80th percentile of the samples until a pass, and the fixed test with as much power."""
    for (lost, gained), n in zip(HONEST, FIXED, strict=True):
        one, other = draw(rng, runs, lost, gained, MOST)
        first = first_pass(one, other)
        until = np.where(first > 0, first, MOST + 1)
        median, most = (int(np.quantile(until, q, method="inverted_cdf")) for q in (0.5, 0.8))
        within = int(((first > 0) & (first <= n)).sum())
        flips = rng.multinomial(n, (lost, gained, 1 - lost - gained), runs)
        fixed = int(fixed_pass(flips[:, 0], flips[:, 1], n).sum())
        yield rate(lost, gained), str(median), str(most), share(within, runs), str(n), share(fixed, runs)


def chosen_afterwards(rng: np.random.Generator, runs: int) -> Iterator[Sequence[str]]:
    """Rows: rates at the margin, and runs that pass at one of `TRIED`: freely, counted, and sequentially."""
    for lost, gained in AT_MARGIN[:4]:
        parts = rng.multinomial(1, (lost, gained, 1 - lost - gained), (runs, TRIED[-1])).astype(np.int8)
        free, counted = np.zeros(runs, np.bool_), np.zeros(runs, np.bool_)
        for number, n in enumerate(TRIED, 1):
            flips = parts[:, :n, :2].sum(axis=1, dtype=np.int64)
            free |= fixed_pass(flips[:, 0], flips[:, 1], n)
            counted |= fixed_pass(flips[:, 0], flips[:, 1], n, level_of(number))
        whole = parts[:, : TRIED[-1] // LOOK * LOOK, :2].reshape(runs, -1, LOOK, 2).sum(axis=2, dtype=np.int64)
        one, other = np.cumsum(whole[..., 0], axis=1), np.cumsum(whole[..., 1], axis=1)
        ever = int((first_pass(one, other) > 0).sum())
        yield rate(lost, gained), share(int(free.sum()), runs), share(int(counted.sum()), runs), share(ever, runs)


def show(header: Sequence[str], rows: Iterator[Sequence[str]]) -> None:
    """Print a table in Markdown."""
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)
    print()


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng, runs, started = np.random.default_rng(asked.seed), asked.runs, time.perf_counter()
    print(f"margin {100 * MARGIN:g} points, {runs} runs, seed {asked.seed}, a look every {LOOK} samples; percent\n")
    show(("lost / gained", "drop", f"passes at any look up to {MOST}", "fixed, 496"), false_passes(rng, runs))
    header = ("lost / gained", "median until a pass", "80 % by", "passed by n", "n", "fixed test at n")
    show(header, power(rng, runs))
    tried = ("lost / gained", "first of eight that passes", "the same, counted", "sequential, up to 2000")
    show(tried, chosen_afterwards(rng, runs))
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
