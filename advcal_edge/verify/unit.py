"""Outputs of any length, like logits: they are normalised here, in value and in gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advcal_edge import model
from advcal_edge.runtime.model import Runner, Vjp
from advcal_edge.spec import TensorSpec

Floats = NDArray[np.float32]


def normalise(raw: Floats) -> tuple[Floats, Floats]:
    """Unit vectors (n, d) and lengths (n, 1) of raw (n, d); an output of length zero has no direction and gives NaN."""
    length = np.linalg.norm(raw.astype(np.float64), axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (raw / length).astype(np.float32), length.astype(np.float32)


@dataclass(frozen=True, slots=True)
class UnitRunner:
    """Implements `Runner`: the outputs of an engine, normalised."""

    raw: Runner

    @property
    def spec(self) -> TensorSpec:
        """The input of the engine."""
        return self.raw.spec

    @property
    def fingerprint(self) -> str:
        """Identifies the engine."""
        return self.raw.fingerprint

    def __call__(self, x: Floats) -> Floats:
        """z (n, d) of unit norm."""
        return normalise(self.raw(x))[0]


@dataclass(frozen=True, slots=True)
class UnitGradient:
    """Implements `Gradient`: forward by an engine, backward by a graph whose own outputs r have any length."""

    runner: model.Runner
    """Gives unit vectors: a `UnitRunner`, or one around it."""
    backward: Vjp

    def vjp(self, x: Floats) -> tuple[Floats, model.Pullback]:
        """Embed x and return (z, pullback); `pullback(v)` is J_r^T (v - z <z, v>) / |r|."""
        z: Floats = self.runner(x)

        def pullback(v: Floats) -> Floats:
            across = (v - (v * z).sum(axis=1, keepdims=True) * z).astype(np.float32)
            r, slope = self.backward.both(x, across)
            length = normalise(r)[1].reshape(len(x), *(1,) * (x.ndim - 1))
            return slope / length

        return z, pullback
