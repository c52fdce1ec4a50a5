"""Adversarial inputs, who they were crafted on, and on whom they work: every one is judged by reference and engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import Attack, Victim, run_attack
from advcal_edge.attacks.base import to_numpy
from advcal_edge.progress import Progress
from advcal_edge.retrieval import Rank, label_rank
from advcal_edge.threat import ThreatModel
from advcal_edge.verify.budget import Budget

Side = Literal["reference", "engine"]
BATCH = 250  # samples a call, so that activations of large encoders fit into memory


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What is attacked: clean x (n, ...), classes y (n,), the ball around each x, and the seed of the attacks."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    threat: ThreatModel
    seed: int
    partner: NDArray[np.float32] | None = None
    """Unit-norm embeddings (n, d) of the same moments as another sensor saw them, where there are any."""

    def __len__(self) -> int:
        return len(self.x)

    def head(self, n: int) -> Samples:
        """The first `n` samples."""
        partner = None if self.partner is None else self.partner[:n]
        return Samples(self.x[:n], self.y[:n], self.threat, self.seed, partner)


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


def embed(victim: Victim, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Embeddings (n, d) on the host, in batches."""
    starts = range(0, max(len(x), 1), BATCH)
    parts = [to_numpy(victim.runner(victim.place(x[start : start + BATCH]))) for start in starts]
    return np.concatenate(parts).astype(np.float32, copy=False)


def predict(victim: Victim, x: NDArray[np.float32]) -> NDArray[np.int64]:
    """Labels (n,) the victim gives."""
    labels: NDArray[np.int64] = victim.centers.predict(embed(victim, x)).astype(np.int64)
    return labels


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
    reference: Victim, samples: Samples, budget: Budget, right: NDArray[np.bool_], progress: Progress
) -> list[Crafted]:
    """Every attack on what the reference gets `right` (n,), so that either side meets the same effort."""
    first = craft("transfer", budget.first(), "reference", reference, samples, right, progress)
    crafted, standing = [first], right & ~first.fools
    for attack in budget.stronger():
        found = craft("transfer", attack, "reference", reference, samples, standing, progress)
        crafted.append(found)
        standing = standing & ~found.fools
    crafted.append(craft("black box", budget.black_box(), "reference", reference, samples, right, progress))
    return crafted


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
    """A crafted set judged by both sides: the rank (n,) the true label takes on each, 0 where it was not attacked."""

    crafted: Crafted
    reference: Rank
    engine: Rank

    @property
    def fools_reference(self) -> NDArray[np.bool_]:
        """Where (n,) the reference's label for x_adv is wrong."""
        return self.reference > 0

    @property
    def fools_engine(self) -> NDArray[np.bool_]:
        """Where (n,) the engine's label for x_adv is wrong."""
        return self.engine > 0


def judge(crafted: Crafted, reference: Victim, engine: Victim, y: NDArray[np.int64]) -> Evidence:
    """Rank the true labels of the attacked rows on both sides."""
    rows, ranks = crafted.attacked, {}
    for side, victim in (("reference", reference), ("engine", engine)):
        ranks[side] = np.zeros(len(y), dtype=np.int64)
        if rows.any():
            ranks[side][rows] = label_rank(victim.centers, embed(victim, crafted.x_adv[rows]), y[rows])
    # whom it was crafted on has spoken already; in other batches a quantised engine may answer a shade differently
    own = ranks[crafted.crafted_on]
    ranks[crafted.crafted_on] = np.where(crafted.fools, np.maximum(own, 1), 0)
    return Evidence(crafted, ranks["reference"], ranks["engine"])


def winning_inputs(samples: Samples, evidence: Sequence[Evidence]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """For each sample the first input that fools the engine, and where (n,) there is one."""
    x_adv, fooled = samples.x.copy(), np.zeros(len(samples), dtype=np.bool_)
    for item in evidence:
        new = item.fools_engine & ~fooled
        x_adv[new] = item.crafted.x_adv[new]
        fooled |= new
    return x_adv, fooled
