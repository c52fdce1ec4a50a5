"""Adversarial inputs, who they were crafted on, and on whom they work: every one is judged by reference and engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import Attack, Victim, run_attack
from advcal_edge.attacks.base import to_numpy
from advcal_edge.progress import Progress
from advcal_edge.threat import ThreatModel
from advcal_edge.verify.budget import Budget

Side = Literal["reference", "engine"]


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What is attacked: clean x (n, ...), classes y (n,), the ball around each x, and the seed of the attacks."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    threat: ThreatModel
    seed: int

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, slots=True, eq=False)
class Crafted:
    """Candidates of one attack for all samples; rows it did not attack hold the clean input."""

    route: str
    attack: str
    crafted_on: Side
    x_adv: NDArray[np.float32]
    attacked: NDArray[np.bool_]
    queries: NDArray[np.int64]
    fools: NDArray[np.bool_]  # the side it was crafted on


def predict(victim: Victim, x: NDArray[np.float32], batch: int = 250) -> NDArray[np.int64]:
    """Labels (n,) the victim gives, in batches."""
    parts = [
        to_numpy(victim.centers.predict(victim.runner(victim.place(x[start : start + batch]))))
        for start in range(0, len(x), batch)
    ]
    return np.concatenate(parts).astype(np.int64)


def craft(
    route: str,
    attack: Attack,
    side: Side,
    victim: Victim,
    samples: Samples,
    standing: NDArray[np.bool_],
    progress: Progress,
) -> Crafted:
    """Attack the samples still standing."""
    x_adv = samples.x.copy()
    fools = np.zeros(len(samples), dtype=np.bool_)
    queries = np.zeros(len(samples), dtype=np.int64)
    if standing.any():
        outcome = run_attack(
            attack,
            victim,
            samples.x[standing],
            samples.y[standing],
            samples.threat,
            route=f"{side} {route}",
            seed=samples.seed,
            progress=progress,
        )
        x_adv[standing], fools[standing], queries[standing] = outcome.x_adv, outcome.success, outcome.queries
    return Crafted(route, repr(attack), side, x_adv, standing, queries, fools)


def craft_on_reference(
    reference: Victim, samples: Samples, budget: Budget, progress: Progress
) -> tuple[NDArray[np.bool_], list[Crafted]]:
    """What the reference gets right, and every attack on it, so that either side meets the same effort."""
    right = predict(reference, samples.x) == samples.y
    first = craft("transfer", budget.first(), "reference", reference, samples, right, progress)
    crafted, standing = [first], right & ~first.fools
    for attack in budget.stronger():
        found = craft("transfer", attack, "reference", reference, samples, standing, progress)
        crafted.append(found)
        standing = standing & ~found.fools
    crafted.append(craft("black box", budget.black_box(), "reference", reference, samples, right, progress))
    return right, crafted


def craft_on_engine(
    engine: Victim,
    samples: Samples,
    budget: Budget,
    right: NDArray[np.bool_],
    fooled_by_transfer: NDArray[np.bool_],
    progress: Progress,
) -> list[Crafted]:
    """White-box attacks (engine forward, exported backward) and the black box, all judged by the engine.

    Every sample the engine gets right meets the first white-box attack and the black box, whether or not a transferred
    input fools it already: otherwise a dead gradient could hide behind a strong transfer.
    """
    crafted: list[Crafted] = []
    if engine.gradient is not None:
        first = craft("gradient", budget.first(), "engine", engine, samples, right, progress)
        crafted, standing = [first], right & ~fooled_by_transfer & ~first.fools
        for attack in budget.stronger():
            found = craft("gradient", attack, "engine", engine, samples, standing, progress)
            crafted.append(found)
            standing = standing & ~found.fools
    crafted.append(craft("black box", budget.black_box(), "engine", engine, samples, right, progress))
    return crafted


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """A crafted set judged by both sides; `fools_*` (n,) is where the label given to x_adv is wrong."""

    crafted: Crafted
    fools_reference: NDArray[np.bool_]
    fools_engine: NDArray[np.bool_]


def judge(crafted: Crafted, reference: Victim, engine: Victim, y: NDArray[np.int64]) -> Evidence:
    """Label the attacked rows with both sides."""
    rows = crafted.attacked
    verdicts = []
    for side, victim in (("reference", reference), ("engine", engine)):
        if side == crafted.crafted_on:
            verdicts.append(crafted.fools)
            continue
        wrong = np.zeros(len(y), dtype=np.bool_)
        if rows.any():
            wrong[rows] = predict(victim, crafted.x_adv[rows]) != y[rows]
        verdicts.append(wrong)
    return Evidence(crafted, verdicts[0], verdicts[1])
