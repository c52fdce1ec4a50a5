"""Two victims as one, for who wants the engine wrong while the reference stays right (DIVA, arXiv 2204.10933)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks.base import Victim
from advcal_edge.centers import Centers
from advcal_edge.errors import ConfigError
from advcal_edge.model import Gradient, Pullback, Runner
from advcal_edge.spec import TensorSpec
from advcal_edge.threat import Array


def difference_victim(engine: Victim, reference: Victim) -> Victim:
    """A victim that is fooled where the engine is and the reference is not.

    Its embeddings are pairs [z_engine, z_reference] (n, 2 d) on the host, as the loss `diva` reads them; both runners
    must take numpy arrays. It has a gradient if both have one.

    Raises:
        ConfigError: the two are not scored against the same centers.
    """
    ours, theirs = engine.centers, reference.centers
    if ours.labels != theirs.labels or not np.array_equal(ours.vectors, theirs.vectors):
        raise ConfigError("engine and reference have different centers; a difference needs the same")
    d = ours.dim

    def criterion(z: Array, y: Array, centers: Centers) -> Array:
        return engine.fooled(z[:, :d], y) & ~reference.fooled(z[:, d:], y)

    gradient = None
    if engine.gradient is not None and reference.gradient is not None:
        gradient = PairGradient(engine.gradient, reference.gradient, d)
    return Victim(PairRunner(engine.runner, reference.runner), ours, gradient, criterion=criterion)


@dataclass(frozen=True, slots=True)
class PairRunner:
    """Both forward passes, side by side."""

    engine: Runner
    reference: Runner

    @property
    def spec(self) -> TensorSpec:
        """The input that both take."""
        return self.engine.spec

    @property
    def fingerprint(self) -> str:
        """What either of them runs."""
        return f"{self.engine.fingerprint} against {self.reference.fingerprint}"

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        """Embed x (n, ...) to [z_engine, z_reference] (n, 2 d)."""
        return np.concatenate([self.engine(x), self.reference(x)], axis=-1)


@dataclass(frozen=True, slots=True)
class PairGradient:
    """Both backward passes, added."""

    engine: Gradient
    reference: Gradient
    dim: int

    def vjp(self, x: NDArray[Any]) -> tuple[NDArray[Any], Pullback]:
        """Embed x and return (z, pullback) with z (n, 2 d) as the runner has it."""
        (first, pull_first), (second, pull_second) = self.engine.vjp(x), self.reference.vjp(x)

        def pullback(v: NDArray[Any]) -> NDArray[Any]:
            ahead, behind = np.ascontiguousarray(v[:, : self.dim]), np.ascontiguousarray(v[:, self.dim :])
            total: NDArray[Any] = pull_first(ahead) + pull_second(behind)
            return total

        return np.concatenate([first, second], axis=-1), pullback
