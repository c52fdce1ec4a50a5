"""Square's moves in linf (Andriushchenko et al. 2020, arXiv 1912.00049, algorithm 2): all values at the edge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks.windows import random_signs, random_windows

Floats = NDArray[np.float32]


def stripes(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """First guess: each channel striped along the last axis, all other places alike, in {-1, 1}."""
    narrow = (shape[0], shape[1], *(1,) * (len(shape) - 3), shape[-1])
    return np.broadcast_to(random_signs(rng, narrow), shape).copy()


def repaint(rng: np.random.Generator, delta: Floats, share: float) -> Floats:
    """`delta` (n, c, *sides) with one window a sample, covering `share` of its places, set to one sign a channel."""
    n, channels, *sides = delta.shape
    widths = [min(max(round(side * share ** (1 / len(sides))), 1), max(side - 1, 1)) for side in sides]
    painted = delta.copy()
    window = random_windows(rng, delta.shape, tuple(widths))
    painted[window] = random_signs(rng, (n, channels, *(1,) * len(sides)))
    return painted
