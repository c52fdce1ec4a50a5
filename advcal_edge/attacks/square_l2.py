"""Square's moves in l2 (Andriushchenko et al. 2020, arXiv 1912.00049, algorithm 3), for any number of axes.

A change is a sum of pyramids: two adjacent boxes of opposite sign, each highest in its middle. A move takes what length
two windows hold, and what the sphere still has room for, into a new pyramid in the first; the second is emptied.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks.windows import random_signs, random_windows

Floats = NDArray[np.float32]


def tiles(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """First guess (n, c, *sides), of length one: about five pyramids along each axis, their signs random."""
    n, channels, *sides = shape
    widths = [max(side // 5, 1) for side in sides]
    delta = np.zeros(shape, dtype=np.float32)
    starts = [range((side % width) // 2, side - width + 1, width) for side, width in zip(sides, widths, strict=True)]
    for corner in itertools.product(*starts):
        place = tuple(slice(start, start + width) for start, width in zip(corner, widths, strict=True))
        delta[(slice(None), slice(None), *place)] = pyramids(rng, n, tuple(widths)) * random_signs(
            rng, (n, channels, *(1,) * len(sides))
        )
    return np.divide(delta, length(delta, 1), dtype=np.float32)


def shift(rng: np.random.Generator, delta: Floats, share: float) -> Floats:
    """`delta` (n, c, *sides), at most one long, with the length of two windows moved into one; exactly one long."""
    n, channels, *sides = delta.shape
    widths = tuple(odd(side * share ** (1 / len(sides)), side) for side in sides)
    first, second = random_windows(rng, delta.shape, widths), random_windows(rng, delta.shape, widths)
    kept = delta.copy()
    kept[first], kept[second] = 0, 0
    held = length(delta, 2) ** 2 - length(kept, 2) ** 2
    free = np.maximum(1 - length(delta, 1) ** 2, 0)
    old = delta[first]
    new = pyramids(rng, n, widths) * random_signs(rng, (n, channels, *(1,) * len(sides))) + old / length(old, 2)
    kept[first] = new / length(new, 2) * np.sqrt(free / channels + np.maximum(held, 0))
    vanished = length(kept, 1) < 1e-6  # where a new pyramid has cancelled the only window there is
    moved: Floats = np.where(vanished, delta / length(delta, 1), kept / length(kept, 1))
    return moved


def pyramids(rng: np.random.Generator, n: int, widths: tuple[int, ...]) -> Floats:
    """One pyramid of length one for each of n samples, (n, 1, *widths), split along an axis drawn for each."""
    shapes = np.stack([pyramid(widths, axis) for axis in range(len(widths))])
    return shapes[rng.integers(0, len(widths), size=n)][:, None]


def pyramid(widths: tuple[int, ...], axis: int) -> Floats:
    """Two halves along `axis`, the second negative; the length of the whole is one (eq. 3)."""
    half = widths[axis] // 2
    parts = [box((*widths[:axis], size, *widths[axis + 1 :])) for size in (half, widths[axis] - half)]
    whole = np.concatenate([parts[0], -parts[1]], axis=axis)
    unit: Floats = (whole / np.linalg.norm(whole)).astype(np.float32)
    return unit


def box(sides: tuple[int, ...]) -> NDArray[Any]:
    """Nested boxes about the middle, the m-th adding 1 / (m + 1)^2 where it covers."""
    if 0 in sides:
        return np.zeros(sides)
    deepest = max(side // 2 + 1 for side in sides)
    layers = 1 / np.arange(1, deepest + 1) ** 2
    covering = np.cumsum(layers[::-1])[::-1]  # by the distance from the middle
    distance = np.zeros(sides, dtype=np.int64)
    for axis, side in enumerate(sides):
        along = np.abs(np.arange(side) - side // 2).reshape([-1 if a == axis else 1 for a in range(len(sides))])
        distance = np.maximum(distance, along)
    return covering[distance]


def odd(width: float, side: int) -> int:
    """`width` rounded to the next odd number of three or more, where the side is that long."""
    return min(max(2 * math.floor(round(width) / 2) + 1, 3), side)


def length(delta: Floats, first: int) -> Floats:
    """Length over all axes from `first` on, kept as axes of one; never zero."""
    axes = tuple(range(first, delta.ndim))
    found: Floats = np.maximum(np.sqrt(np.square(delta).sum(axis=axes, keepdims=True)), np.float32(1e-12))
    return found
