"""Robust accuracy over the radius, attacked anew at each, so that a curve that rises can be seen to rise."""

from __future__ import annotations

from collections.abc import Sequence

from advcal_edge.attacks import Attack, AttackedModel, run_attack
from advcal_edge.progress import Progress, silent
from advcal_edge.report.results import Curve, Point
from advcal_edge.threat import ThreatModel
from advcal_edge.verify.model_set import predict
from advcal_edge.verify.samples import Samples

MULTIPLES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


def measure_curve(
    model: AttackedModel,
    samples: Samples,
    attack: Attack,
    multiples: Sequence[float] = MULTIPLES,
    progress: Progress = silent,
) -> Curve:
    """Attack every sample at each of `multiples` of the threat's radius, and at one from which all inputs are in reach.

    Each radius has attacks of its own from starts of its own; nothing found at a smaller one is carried over. At radius
    zero the clean label counts.

    Raises:
        ConfigError: the attack needs a gradient and the model has none.
    """
    points = []
    for stream, eps in enumerate(radii(samples.threat, samples.x.shape[1:], multiples)):
        if eps == 0:
            points.append(Point(eps, predict(model, samples.x) == samples.y))
            continue
        ball = samples.threat.with_eps(eps)
        outcome = run_attack(
            attack,
            model,
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
