"""Who takes part: the reference, the engines under test, and others that only lend their adversarial inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import Attack, Transfer, Victim, expected_victim
from advcal_edge.attacks.base import to_numpy
from advcal_edge.errors import EngineError

REFERENCE, ENGINE = "reference", "engine"
CALLS = 8  # averaged for an engine that answers differently each time (expectation over transformation)
BATCH = 250  # samples a call, so that activations of large encoders fit into memory


@dataclass(frozen=True, slots=True, eq=False)
class Player:
    """A model that may be attacked and that may judge, with what a report says of it."""

    victim: Victim
    info: Mapping[str, Any] = field(default_factory=dict)
    calls: int = 1
    """Answers averaged for each question of an attack; more than one where the model is random."""

    def wrap_attack(self, attack: Attack, victim: Victim | None = None) -> Attack:
        """The attack on this model, or on `victim` in its place; it averages answers where the model is random.

        Single answers still decide whether it has won.
        """
        if self.calls == 1:
            return attack
        return Transfer(expected_victim(victim or self.victim, self.calls), attack)


@dataclass(frozen=True, slots=True, eq=False)
class Lineup:
    """Engines by name, and sources by name; an engine may be a source for the other engines under the same name."""

    reference: Player
    engines: Mapping[str, Player]
    sources: Mapping[str, Player] = field(default_factory=dict)
    builds: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """For each engine that was built again: which engine each further build is, the same one where the bytes are."""

    @property
    def players(self) -> dict[str, Player]:
        """Everybody once, by name."""
        return {REFERENCE: self.reference, **self.sources, **self.engines}

    @property
    def judges(self) -> list[str]:
        """Names of those who judge every input: the reference and the engines."""
        return [REFERENCE, *self.engines]

    def has_difference(self, engine: str) -> bool:
        """Whether reference and engine both have gradients, so that their difference can be attacked."""
        return None not in (self.reference.victim.gradient, self.engines[engine].victim.gradient)

    def others(self, engine: str) -> list[str]:
        """Names of the sources that lend inputs against `engine`."""
        return [name for name in self.sources if name != engine]

    def check(self, x: NDArray[np.float32]) -> None:
        """Run one sample x (1, ...) through everybody.

        Raises:
            EngineError: an embedding of another width than the centers.
        """
        for name, player in self.players.items():
            found, width = embed(player.victim, x).shape, player.victim.centers.dim
            if found != (1, width):
                raise EngineError(f"{name} gives embeddings {found}; the centers of this bundle are {width} wide")


def embed(victim: Victim, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Embeddings (n, d) on the host, in batches."""
    starts = range(0, max(len(x), 1), BATCH)
    parts = [to_numpy(victim.runner(victim.place(x[start : start + BATCH]))) for start in starts]
    return np.concatenate(parts).astype(np.float32, copy=False)


def predict(victim: Victim, x: NDArray[np.float32]) -> NDArray[np.int64]:
    """Labels (n,) the victim gives."""
    labels: NDArray[np.int64] = victim.centers.predict(embed(victim, x)).astype(np.int64)
    return labels
