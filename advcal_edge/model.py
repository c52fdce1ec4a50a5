"""The two protocols through which every model is attacked and judged, whatever runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from advcal_edge.spec import TensorSpec
from advcal_edge.threat import Array

Pullback = Callable[[Array], Array]
"""Takes v = dL/dz (n, d) and returns J^T v = dL/dx, shaped like x."""


class Runner(Protocol):
    """Anything that computes embeddings: a torch module, an ONNX Runtime session, a TensorRT engine."""

    @property
    def spec(self) -> TensorSpec:
        """The input of the model."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identifies what runs: product, version and hash of the bytes."""
        ...

    def __call__(self, x: Array) -> Array:
        """Embed x (n, ...) to unit-norm z (n, d), no inputs to (0, d); the array returned belongs to the caller."""
        ...


class Gradient(Protocol):
    """The backward pass of a runner: exact for a torch module, an exported VJP graph for an engine."""

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        """Embed x and return (z, pullback); `pullback(v)` is J^T v at x."""
        ...
