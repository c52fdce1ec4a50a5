"""Attacks built on others: transfer, expectation over a random model's answers, and the difference of two models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks.base import Attack, AttackedModel, Proposal, to_numpy
from advcal_edge.centers import Centers
from advcal_edge.errors import ConfigError
from advcal_edge.model import Gradient, Pullback, Runner
from advcal_edge.spec import TensorSpec
from advcal_edge.threat import Array, ThreatModel


@dataclass(frozen=True, slots=True)
class Transfer:
    """Crafts on `surrogate` and proposes to the model without querying it; the queries are the surrogate's.

    An attack that stops at the first success barely fools the surrogate and often no other model: prefer
    `PGD(select="strongest")`.
    """

    surrogate: AttackedModel = field(repr=False)
    attack: Attack

    def propose(
        self, model: AttackedModel, x: Array, y: Array, threat: ThreatModel, rng: np.random.Generator
    ) -> Proposal:
        """Search within `threat` around x (n, ...) on the surrogate, in its array library and device."""
        place = self.surrogate.place
        proposal = self.attack.propose(self.surrogate, place(to_numpy(x)), place(to_numpy(y)), threat, rng)
        return Proposal(model.place(to_numpy(proposal.x)), proposal.queries)


def expected_model(model: AttackedModel, calls: int) -> AttackedModel:
    """A model whose embeddings and gradients are means over `calls` calls of a random one.

    Since scores are linear in z, an attack on it follows the expected scores. Each of its queries costs `calls` queries
    of the model. Success is judged on the mean; to judge single answers, attack the model itself with
    `Transfer(expected_model(model, calls), attack)`.

    Raises:
        ConfigError: less than one call.
    """
    if calls < 1:
        raise ConfigError(f"an expectation needs at least one call; found {calls}")
    gradient = None if model.gradient is None else ExpectedGradient(model.gradient, calls)
    return replace(model, runner=ExpectedRunner(model.runner, calls), gradient=gradient)


@dataclass(frozen=True, slots=True)
class ExpectedRunner:
    """Mean of several forward passes."""

    runner: Runner
    calls: int

    @property
    def spec(self) -> TensorSpec:
        """The input of the model."""
        return self.runner.spec

    @property
    def fingerprint(self) -> str:
        """The model's fingerprint and the number of calls."""
        return f"mean of {self.calls} calls of {self.runner.fingerprint}"

    def __call__(self, x: Array) -> Array:
        """Mean embeddings (n, d) of x (n, ...); shorter than one if the calls disagree."""
        return mean(lambda: self.runner(x), self.calls)


@dataclass(frozen=True, slots=True)
class ExpectedGradient:
    """Mean of several backward passes, each of its own forward pass."""

    gradient: Gradient
    calls: int

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        """Mean embeddings of x, and the mean of J^T v over the same calls."""
        pairs = [self.gradient.vjp(x) for _ in range(self.calls)]
        z, pulls = iter([z for z, _ in pairs]), [pull for _, pull in pairs]

        def pullback(v: Array) -> Array:
            each = iter(pulls)
            return mean(lambda: next(each)(v), self.calls)

        return mean(lambda: next(z), self.calls), pullback


def mean(draw: Callable[[], Array], calls: int) -> Array:
    """Mean of `calls` arrays, with one in memory at a time."""
    total = draw()
    for _ in range(calls - 1):
        total = total + draw()
    return total / calls


def difference_model(engine: AttackedModel, reference: AttackedModel) -> AttackedModel:
    """A model that is fooled where the engine is and the reference is not.

    Its embeddings are pairs [z_engine, z_reference] (n, 2 d) on the host, as the loss `diva` expects; both runners must
    take numpy arrays. It has a gradient if both have one.

    Raises:
        ConfigError: the two do not share the same centers.
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
    runner, calls = PairRunner(engine.runner, reference.runner), max(engine.calls, reference.calls)
    return AttackedModel(runner, ours, gradient, criterion=criterion, calls=calls)


@dataclass(frozen=True, slots=True)
class PairRunner:
    """Both forward passes, side by side."""

    engine: Runner
    reference: Runner

    @property
    def spec(self) -> TensorSpec:
        """The input of both models."""
        return self.engine.spec

    @property
    def fingerprint(self) -> str:
        """The fingerprints of both models."""
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
        """Embed x and return (z, pullback) with z (n, 2 d) as from the runner."""
        (first, pull_first), (second, pull_second) = self.engine.vjp(x), self.reference.vjp(x)

        def pullback(v: NDArray[Any]) -> NDArray[Any]:
            ahead, behind = np.ascontiguousarray(v[:, : self.dim]), np.ascontiguousarray(v[:, self.dim :])
            total: NDArray[Any] = pull_first(ahead) + pull_second(behind)
            return total

        return np.concatenate([first, second], axis=-1), pullback
