"""Farthest-point sampling: a few points that cover a cloud evenly, however unevenly it was scanned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sample_farthest(cloud: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Indices (count,) into the cloud (p, 3), each the point farthest from all before it.

    Starts with the point farthest from the centroid, so that the order of the points does not matter; takes
    O(count * p). Eldar et al., "The farthest point strategy for progressive image sampling", IEEE TIP 6(9), 1997.
    """
    x, y, z = np.ascontiguousarray((cloud - cloud.mean(axis=0)).T)
    apart = x * x + y * y + z * z
    chosen = np.empty(count, np.intp)
    chosen[0] = apart.argmax()
    apart[:] = np.inf
    square, total = np.empty_like(x), np.empty_like(x)
    for step in range(1, count):
        last = chosen[step - 1]
        np.subtract(x, x[last], out=total)
        np.multiply(total, total, out=total)
        for axis in (y, z):
            np.subtract(axis, axis[last], out=square)
            np.multiply(square, square, out=square)
            np.add(total, square, out=total)
        np.minimum(apart, total, out=apart)  # the squared distance to the nearest point chosen so far
        chosen[step] = apart.argmax()
    return chosen
