"""Errors for engines whose inputs or outputs differ from what their use expects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends import Backend


def misfit(backend: Backend, expected: str, hint: str | None = None) -> EngineError:
    """The error for an engine with unexpected inputs or outputs."""
    declared = f"{', '.join(map(str, backend.inputs))} -> {', '.join(map(str, backend.outputs))}"
    return EngineError(
        f"{backend.kind} `{backend.path}` is {declared}; expected {expected}",
        hint=hint or f"use the bundle this {backend.kind} was made from, or {backend.remake()}",
    )


def wrong_shape(backend: Backend, name: str, array: NDArray[Any], expected: Sequence[int]) -> EngineError:
    """The error for an engine whose output differs from its declaration."""
    return EngineError(
        f"{backend.kind} `{backend.path}` returned {array.shape} as `{name}` for a batch of {expected[0]};"
        f" expected {tuple(expected)}",
        hint=f"its batch size was frozen while exporting; {backend.remake()}",
    )
