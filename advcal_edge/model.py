"""The two protocols everything is attacked and judged through, whatever runs underneath."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from advcal_edge.spec import TensorSpec
from advcal_edge.threat import Array

Pullback = Callable[[Array], Array]
"""Takes v = dL/dz (n, d) and returns J^T v = dL/dx, shaped like x."""


class Runner(Protocol):
    """Anything that embeds: a torch module, an ONNX Runtime session, a TensorRT engine."""

    @property
    def spec(self) -> TensorSpec:
        """The input it takes."""
        ...

    @property
    def fingerprint(self) -> str:
        """What exactly runs: product, version and hash of the bytes."""
        ...

    def __call__(self, x: Array) -> Array:
        """Embed x (n, ...) to unit-norm z (n, d), no inputs to (0, d); the array returned is the caller's own."""
        ...


class Gradient(Protocol):
    """The backward pass of a runner: exact for a torch module, an exported VJP graph for an engine."""

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        """Embed x and return (z, pullback); `pullback(v)` is J^T v at x."""
        ...
