"""What a measurement will cost at most, from the time of one batch and the passes that each attack may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from attack_contests import Contest
from torch import Tensor

from optimality_bench.targets import Target


@dataclass(frozen=True, slots=True)
class PassSeconds:
    """Processor seconds of one sample: forward alone, and forward with the gradient."""

    forward: float
    gradient: float


def time_passes(target: Target) -> PassSeconds:
    """The faster of two batches each, after one that does not count."""
    x = target.bench.x[: target.bench.batch]

    def forward() -> None:
        with torch.no_grad():
            target.meter(x)

    def gradient() -> None:
        leaf: Tensor = x.clone().requires_grad_()
        torch.autograd.grad(target.meter(leaf).sum(), leaf)

    return PassSeconds(_seconds(forward) / len(x), _seconds(gradient) / len(x))


def most_seconds(contest: Contest, one: PassSeconds, samples: int, rounds: int) -> float:
    """Upper limit of one attack of one library: every sample fooled at once, and still every pass made.

    Attacks that drop fooled samples, and samples that withstand and so are not attacked at smaller radii, cost less.
    """
    forward, gradient = contest.passes
    return samples * (1 + rounds) * (forward * one.forward + gradient * one.gradient)


def _seconds(run: Callable[[], None]) -> float:
    run()
    found = []
    for _ in range(2):
        start = time.process_time()
        run()
        found.append(time.process_time() - start)
    return min(found)
