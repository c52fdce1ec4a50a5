"""Several attacks on the same few samples, run once and then compared by the checks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import PGD, Attack, AttackedModel, AttackOutcome, TargetedAPGD, run_attack
from advcal_edge.progress import Progress, silent
from advcal_edge.report.checks import NO_GRADIENT
from advcal_edge.threat import ThreatModel
from advcal_edge.verify.model_set import predict
from advcal_edge.verify.samples import Samples

STEPS = 10
LOSSES = ("ce", "ce-scaled", "margin")
UNTARGETED = ("twice the steps", *LOSSES[1:])
TARGETS = 2  # the runner-up and the next: fewer steps in total than `UNTARGETED` has
DRAWS = 8  # of noise, half of them at full radius

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """Where (n,) each attack broke the engine on n samples that are right when clean, or why no attack ran."""

    steps: int
    broken: Mapping[str, Flags] = field(default_factory=dict)
    absent: str = ""

    def by(self, *names: str) -> Flags:
        """Where (n,) at least one of these attacks won."""
        union: Flags = np.logical_or.reduce([self.broken[name] for name in names])
        return union


def try_attacks(engine: AttackedModel, samples: Samples, steps: int = STEPS, progress: Progress = silent) -> Trials:
    """Run PGD with each loss, with twice the steps and with one, targeted APGD and noise on samples right when clean.

    Twice the steps are steps of the same size: those of the shorter run, and as many again. One run measures both: the
    queries per sample show which samples broke in its first half.
    """
    if engine.gradient is None:
        return Trials(steps, absent=NO_GRADIENT)
    right = predict(engine, samples.x) == samples.y
    if not right.any():
        return Trials(steps, absent="no sample is right when clean")
    x, y = samples.x[right], samples.y[right]

    def run(name: str, attack: Attack) -> AttackOutcome:
        route = f"check {name}"
        return run_attack(attack, engine, x, y, samples.threat, route=route, seed=samples.seed, progress=progress)

    long = run("more steps", PGD(steps=2 * steps, step=2.5 / steps))
    # one query on the clean input, one before each step, one after the last
    broken = {"twice the steps": long.success, "ce": long.success & (long.queries <= steps + 2)}
    for loss in LOSSES[1:]:
        broken[loss] = run("losses", PGD(steps=steps, loss=loss)).success
    broken["one step"] = run("one step", PGD(steps=1)).success
    broken["targeted"] = run("targets", TargetedAPGD(steps=steps, targets=TARGETS, loss="margin")).success
    broken["noise"] = broken_by_noise(engine, x, y, samples.threat, samples.seed)
    return Trials(steps, broken)


def broken_by_noise(
    engine: AttackedModel, x: NDArray[np.float32], y: NDArray[np.int64], threat: ThreatModel, seed: int
) -> Flags:
    """Where (n,) any of `DRAWS` random points around x (n, ...) is mislabelled."""
    broken = np.zeros(len(x), dtype=np.bool_)
    for draw in range(DRAWS):
        noise = draw_noise(np.random.default_rng([seed, draw]), x.shape, threat, full=draw % 2 == 0)
        broken |= predict(engine, threat.project(x + noise, x)) != y
    return broken


def draw_noise(
    rng: np.random.Generator, shape: tuple[int, ...], threat: ThreatModel, *, full: bool
) -> NDArray[np.float32]:
    """Noise (n, ...) for linf: random signs at `full` radius, else uniform in the ball; for l2 always on the sphere.

    In many dimensions nearly all the volume of an l2 ball lies at its surface.
    """
    if threat.norm == "linf":
        signs = rng.choice(np.array([-1, 1], np.float32), size=shape)
        size = 1.0 if full else rng.random(shape, dtype=np.float32)
        return (signs * size * np.float32(threat.radius)).astype(np.float32)
    noise = rng.standard_normal(shape, dtype=np.float32).reshape(shape[0], math.prod(shape[1:]))
    noise *= np.float32(threat.radius) / np.linalg.norm(noise, axis=1, keepdims=True)
    return noise.reshape(shape)
