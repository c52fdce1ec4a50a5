"""Expectation over a system's own randomness (Athalye et al. 2018, arXiv 1707.07397 and 1802.00420)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from advcal_edge.attacks.base import Victim
from advcal_edge.errors import ConfigError
from advcal_edge.model import Gradient, Pullback, Runner
from advcal_edge.spec import TensorSpec
from advcal_edge.threat import Array


def expected_victim(victim: Victim, calls: int) -> Victim:
    """A victim whose embeddings and gradients are means over `calls` calls of a randomised one.

    Since scores are linear in z, an attack on it follows the expected scores. Each of its queries costs `calls` of the
    victim's. It is judged by its mean; to have single answers judged, attack the victim itself with
    `Transfer(expected_victim(victim, calls), attack)`.

    Raises:
        ConfigError: less than one call.
    """
    if calls < 1:
        raise ConfigError(f"an expectation needs at least one call; found {calls}")
    gradient = None if victim.gradient is None else ExpectedGradient(victim.gradient, calls)
    return replace(victim, runner=ExpectedRunner(victim.runner, calls), gradient=gradient)


@dataclass(frozen=True, slots=True)
class ExpectedRunner:
    """Mean of several forward passes."""

    runner: Runner
    calls: int

    @property
    def spec(self) -> TensorSpec:
        """The input it takes."""
        return self.runner.spec

    @property
    def fingerprint(self) -> str:
        """What runs, and how often."""
        return f"mean of {self.calls} calls of {self.runner.fingerprint}"

    def __call__(self, x: Array) -> Array:
        """Mean embeddings (n, d) of x (n, ...); shorter than one where the calls disagree."""
        return mean(lambda: self.runner(x), self.calls)


@dataclass(frozen=True, slots=True)
class ExpectedGradient:
    """Mean of several backward passes, each of the forward pass it belongs to."""

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
    """Mean of `calls` arrays, one held at a time."""
    total = draw()
    for _ in range(calls - 1):
        total = total + draw()
    return total / calls
