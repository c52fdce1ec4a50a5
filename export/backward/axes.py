"""Axes of a convolution or pooling."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def spatial_axes(x: Tensor, kernel: Sequence[int]) -> int:
    """Number of axes of a window: those of its kernel or, if that is one number for all, those of x (n, c, ...)."""
    return len(kernel) if len(kernel) > 1 else x.ndim - 2


def per_axis(values: Sequence[int], axes: int) -> list[int]:
    """One value for each axis; torch also hands over a single one for all, as with `padding="valid"`."""
    return [int(value) for value in values] * (axes if len(values) == 1 else 1)
