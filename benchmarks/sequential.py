"""False passes, power and samples of the sequential test beside a fixed number of samples, by simulation.

    python benchmarks/sequential.py [--runs 10000] [--seed 0]

Every sample flips on its own: the engine alone is wrong at the rate "lost", the reference alone at the rate "gained".
Prints three tables in Markdown: false passes at a drop of the margin and beyond, samples until a pass of an engine that
lost nothing on average, and what choosing the number of samples afterwards does to a fixed test.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from advcal_edge.report.history import level_of
from advcal_edge.sequential import LOOK, log_capital, threshold
from advcal_edge.stats import LEVEL, MARGIN, clopper_pearson, tango

MOST = 4096  # samples of a simulated run
ONE = 496  # samples of the fixed test beside it
AT_MARGIN = ((0.02, 0.0), (0.025, 0.005), (0.04, 0.02), (0.07, 0.05), (0.03, 0.0), (0.06, 0.01))
HONEST = ((0.0, 0.0), (0.01, 0.01), (0.01, 0.005), (0.02, 0.02))
FIXED = (200, 500, 800, 900)  # samples of the fixed test with about 80 % power at each of `HONEST`
TRIED = (200, 300, 400, 500, 750, 1000, 1500, 2000)  # chosen one after the other until one passes

Counts = NDArray[np.int64]


def draw(
    rng: np.random.Generator, runs: int, rates: tuple[float, float], stops: Iterable[int]
) -> Iterator[tuple[int, Counts, Counts]]:
    """At each of these numbers of samples, in ascending order: the number, and flips so far (runs,) of both kinds."""
    total, last = np.zeros((runs, 2), np.int64), 0
    for n in stops:
        total += rng.multinomial(n - last, (*rates, 1 - sum(rates)), runs)[:, :2]
        last = n
        yield n, total[:, 0], total[:, 1]


def sequential_pass(lost: Counts, gained: Counts, n: int) -> NDArray[np.bool_]:
    """Where (runs,) a look at `lost` and `gained` (runs,) of n samples passes."""
    pairs, back = np.unique(np.stack([lost, gained], 1), axis=0, return_inverse=True)
    passes = log_capital(pairs[:, 0], pairs[:, 1], np.full(len(pairs), n), MARGIN) >= threshold(LEVEL)
    found: NDArray[np.bool_] = passes[back.reshape(-1)]
    return found


def fixed_pass(lost: Counts, gained: Counts, n: int, level: float = LEVEL) -> NDArray[np.bool_]:
    """Where (runs,) the fixed test passes with flips `lost` and `gained` (runs,) of n samples."""
    pairs, back = np.unique(np.stack([lost, gained], 1), axis=0, return_inverse=True)
    passes = np.array([tango(int(one), int(other), n, 1 - 2 * level).high < MARGIN for one, other in pairs])
    found: NDArray[np.bool_] = passes[back.reshape(-1)]
    return found


def share(passed: NDArray[np.bool_], runs: int) -> str:
    """Percent with its exact 95 % interval."""
    interval = clopper_pearson(int(passed.sum()), runs)
    return f"{100 * passed.mean():.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def rate(rates: tuple[float, float]) -> str:
    """Lost and gained in percent."""
    return " / ".join(f"{100 * share:g}" for share in rates)


def false_passes(rng: np.random.Generator, runs: int) -> Iterator[Sequence[str]]:
    """Rows: rates, drop, false passes of the sequential test at any look, and of the fixed one at `ONE` samples."""
    for rates in AT_MARGIN:
        ever, fixed = np.zeros(runs, np.bool_), np.zeros(runs, np.bool_)
        for n, lost, gained in draw(rng, runs, rates, range(LOOK, MOST + 1, LOOK)):
            ever |= sequential_pass(lost, gained, n)
            if n == ONE:
                fixed = fixed_pass(lost, gained, n)
        yield rate(rates), f"{100 * (rates[0] - rates[1]):g}", share(ever, runs), share(fixed, runs)


def power(rng: np.random.Generator, runs: int) -> Iterator[Sequence[str]]:
    """Rows: rates, median and 80th percentile of the samples until a pass, and the fixed test with as much power."""
    for rates, size in zip(HONEST, FIXED, strict=True):
        until = np.full(runs, MOST + 1)
        for n, lost, gained in draw(rng, runs, rates, range(LOOK, MOST + 1, LOOK)):
            until = np.where(sequential_pass(lost, gained, n), np.minimum(until, n), until)
        median, most = (int(np.quantile(until, q, method="inverted_cdf")) for q in (0.5, 0.8))
        fixed = next(fixed_pass(lost, gained, n) for n, lost, gained in draw(rng, runs, rates, (size,)))
        yield rate(rates), str(median), str(most), str(size), share(until <= size, runs), share(fixed, runs)


def chosen_afterwards(rng: np.random.Generator, runs: int) -> Iterator[Sequence[str]]:
    """Rows: rates at the margin, and runs that pass at one of `TRIED`: freely, counted, and sequentially."""
    stops = sorted({*TRIED, *range(LOOK, TRIED[-1] + 1, LOOK)})
    for rates in AT_MARGIN[:4]:
        free, counted, ever = (np.zeros(runs, np.bool_) for _ in range(3))
        for n, lost, gained in draw(rng, runs, rates, stops):
            if n in TRIED:
                free |= fixed_pass(lost, gained, n)
                counted |= fixed_pass(lost, gained, n, level_of(TRIED.index(n) + 1))
            if n % LOOK == 0:
                ever |= sequential_pass(lost, gained, n)
        yield rate(rates), *(share(passed, runs) for passed in (free, counted, ever))


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
    show(("lost / gained", "drop", f"passes at any look up to {MOST}", f"fixed test at {ONE}"), false_passes(rng, runs))
    header = ("lost / gained", "median until a pass", "80 % by", "n", "passed by n", "fixed test at n")
    show(header, power(rng, runs))
    tried = ("lost / gained", "first of eight that passes", "the same, counted", "sequential, up to 2000")
    show(tried, chosen_afterwards(rng, runs))
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
