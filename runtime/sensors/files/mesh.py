"""Triangle meshes, and points on their surface."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import InputError

BLOCK = 2**18
"""Triangles whose areas are computed at a time, to bound memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Vertices (v, 3), triangles (t, 3) of indices into them, and the area up to each triangle (t,)."""

    vertices: NDArray[np.float64]
    triangles: NDArray[np.intc]
    areas: NDArray[np.float64]

    @classmethod
    def of(cls, vertices: NDArray[np.float64], corners: array[int]) -> Mesh:
        """A mesh of vertices (v, 3) and triangles, three indices each.

        Raises:
            ValueError: no triangles, a corner that is no vertex, or a surface without area.
        """
        triangles = np.frombuffer(corners, np.intc).reshape(-1, 3) if corners else np.empty((0, 3), np.intc)
        if not len(triangles):
            raise ValueError("it has no faces")
        low, high = int(triangles.min()), int(triangles.max())
        if low < 0 or high >= len(vertices):
            wrong = low if low < 0 else high
            raise ValueError(f"a face has the corner {wrong}, counted from 0; it has {len(vertices)} vertices")
        areas = np.concatenate(
            [_areas(vertices, triangles[start : start + BLOCK]) for start in range(0, len(triangles), BLOCK)]
        )
        with np.errstate(over="ignore", invalid="ignore"):
            np.cumsum(areas, out=areas)
        if not 0 < areas[-1] < np.inf:  # NaN of a corner propagates
            raise ValueError(f"its surface has an area of {areas[-1]:g}")
        return cls(vertices, triangles, areas)

    def sample(self, count: int) -> NDArray[np.float64]:
        """Points (count, 3), uniform over the surface, with a fixed seed.

        The square root makes them uniform within a triangle: Osada et al., "Shape distributions", ACM Transactions on
        Graphics 21(4), 2002.
        """
        rng = np.random.default_rng(0)
        chosen = np.searchsorted(self.areas, rng.random(count) * self.areas[-1], side="right")
        first, second, third = (
            self.vertices[corner] for corner in self.triangles[np.minimum(chosen, len(self.areas) - 1)].T
        )
        root, share = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
        points: NDArray[np.float64] = first * (1 - root) + second * (root * (1 - share)) + third * (root * share)
        return points


def add_polygon(corners: array[int], polygon: Sequence[int], where: str) -> None:
    """Append a polygon as a fan of triangles; one of fewer than three corners has none.

    Raises:
        InputError: too many triangles.
        OverflowError: an index beyond 32 bits.
    """
    for place in range(1, len(polygon) - 1):
        corners.extend((polygon[0], polygon[place], polygon[place + 1]))
    if len(corners) > 3 * limits.TRIANGLES.value:
        limits.TRIANGLES.check(len(corners) // 3, where, InputError)


def _areas(vertices: NDArray[np.float64], triangles: NDArray[Any]) -> NDArray[np.float64]:
    """Areas (t,) of triangles; not finite if a corner is not."""
    first, second, third = (vertices[corner] for corner in triangles.T)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        areas: NDArray[np.float64] = np.linalg.norm(np.cross(second - first, third - first), axis=1) / 2
    return areas
