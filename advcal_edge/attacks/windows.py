"""Random windows of inputs (n, c, *sides), one a sample, and the schedule by which Square lets them shrink."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Index = tuple[Any, ...]


def random_windows(rng: np.random.Generator, shape: tuple[int, ...], widths: tuple[int, ...]) -> Index:
    """An index into arrays of `shape` (n, c, *sides) for a window of `widths` at a random place of each sample."""
    axes = len(shape)
    index = [_along(np.arange(shape[0]), 0, axes), _along(np.arange(shape[1]), 1, axes)]
    for axis, (side, width) in enumerate(zip(shape[2:], widths, strict=True), start=2):
        start = rng.integers(0, side - width + 1, size=shape[0])
        index.append(_along(start, 0, axes) + _along(np.arange(width), axis, axes))
    return tuple(index)


def random_signs(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Fair -1 or 1."""
    return rng.choice(np.array([-1, 1], dtype=np.float32), size=shape)


def halvings(query: int, queries: int) -> float:
    """Factor on the share of a window: halved at fixed points of the paper's schedule of 10,000 queries.

    A longer search stretches the schedule. A shorter one gets through a quarter of it, or as far as it comes: squeezing
    in the whole, as other programs do, spends most of a small budget on windows of a few values.
    """
    horizon = max(queries, min(4 * queries, 10_000))
    position = query * 10_000 // horizon
    milestones = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
    return 0.5 ** sum(position > milestone for milestone in milestones)


def _along(values: NDArray[Any], axis: int, axes: int) -> NDArray[Any]:
    return values.reshape([-1 if a == axis else 1 for a in range(axes)])
