"""Robust accuracy over the radius, attacked anew at each, so that a curve that rises can be seen to rise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import Attack, Victim, run_attack
from advcal_edge.progress import Progress, silent
from advcal_edge.stats import wilson
from advcal_edge.threat import ThreatModel
from advcal_edge.verify.lineup import predict
from advcal_edge.verify.samples import Samples

MULTIPLES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """One radius, a fraction of the bounds' width, and where (n,) the victim withstood it."""

    eps: float
    right: NDArray[np.bool_]

    def to_json(self) -> dict[str, Any]:
        """Count, accuracy and its 95 % Wilson interval."""
        correct, n = int(self.right.sum()), len(self.right)
        interval = wilson(correct, n).to_json()
        return {"eps": self.eps, "correct": correct, "accuracy": correct / n, "interval": interval}


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Robust accuracy of one victim under one attack at ascending radii, the same samples at each."""

    attack: str
    points: Sequence[Point]

    def to_json(self) -> dict[str, Any]:
        """Plain types for the report."""
        samples = len(self.points[0].right)
        return {"attack": self.attack, "samples": samples, "points": [point.to_json() for point in self.points]}


def measure_curve(
    victim: Victim,
    samples: Samples,
    attack: Attack,
    multiples: Sequence[float] = MULTIPLES,
    progress: Progress = silent,
) -> Curve:
    """Attack every sample at each of `multiples` of the threat's radius, and at one from which all inputs are in reach.

    Each radius has attacks of its own from starts of its own; nothing found at a smaller one is carried over. At radius
    zero the clean label counts.

    Raises:
        ConfigError: the attack needs a gradient and the victim has none.
    """
    points = []
    for stream, eps in enumerate(radii(samples.threat, samples.x.shape[1:], multiples)):
        if eps == 0:
            points.append(Point(eps, predict(victim, samples.x) == samples.y))
            continue
        ball = samples.threat.with_eps(eps)
        outcome = run_attack(
            attack,
            victim,
            samples.x,
            samples.y,
            ball,
            route="curve",
            seed=samples.seed,
            stream=stream,
            progress=progress,
        )
        points.append(Point(eps, ~outcome.success))
    return Curve(repr(attack), points)


def radii(threat: ThreatModel, shape: Sequence[int], multiples: Sequence[float]) -> list[float]:
    """Ascending multiples of eps, and last the radius within which every legal input is from every other."""
    whole = threat.farthest(shape)
    return [*sorted({m * threat.eps for m in multiples if m * threat.eps < whole}), whole]
