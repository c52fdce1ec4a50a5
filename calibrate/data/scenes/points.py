"""The point cloud: what a ranging sensor measured of the object and of what surrounds it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from advcal_edge.calibrate.data.scenes.depth import distance_metres
from advcal_edge.calibrate.data.scenes.scene import Scene
from advcal_edge.calibrate.data.scenes.thing import FAR

STREAM = 4
SIDE = 160
"""Directions that the sensor tries along each side of the frame."""

POINTS = 600, 3000
NOISE = 0.004
"""Deviation of a distance, as a share of it."""


def point_cloud(scene: Scene, size: int = 64) -> NDArray[np.float32]:
    """Between 600 and 3000 points (p, 3) in metres: x to the right, y down, z forward; `size` changes nothing.

    The cloud is cut to a ball round the object, a little larger than it, as a detector hands it over.
    """
    noise = scene.stream(STREAM)
    points = back_project(scene, distance_metres(scene, SIDE)).reshape(-1, 3)
    thing = scene.thing
    middle = _ray(scene, thing.centre[0], thing.centre[1]) * thing.distance
    reach = scene.metres * noise.uniform(0.55, 0.75)
    near = np.linalg.norm(points - middle, axis=1) < reach
    seen = points[near & (points[:, 2] > 0) & (points[:, 2] < FAR)]
    if len(seen) < POINTS[0] // 10:  # nothing stands there: the nearest of what is around
        order = np.argsort(np.linalg.norm(points - middle, axis=1) + FAR * (points[:, 2] <= 0))
        seen = points[order[: POINTS[1]]]
    count = int(noise.integers(POINTS[0], POINTS[1] + 1))
    chosen = seen[noise.choice(len(seen), count, replace=len(seen) < count)]
    # the error lies along the ray: a point moves, its direction stays
    measured: NDArray[np.float32] = (chosen * (1 + NOISE * noise.standard_normal((count, 1)))).astype(np.float32)
    return measured


def back_project(scene: Scene, metres: NDArray[np.float32]) -> NDArray[np.float64]:
    """Points (side, side, 3) of a map of distances along the axis."""
    steps = (np.arange(metres.shape[0]) + 0.5) / metres.shape[0]
    x, y = np.meshgrid(steps, steps)
    return _ray(scene, x, y) * metres[..., None]


def _ray(scene: Scene, x: NDArray[np.float64] | float, y: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Directions (..., 3) of places in the frame, 1 along the axis; it is level and meets the frame at the horizon."""
    across, down = np.subtract(x, 0.5) / scene.lens, np.subtract(y, scene.landscape.horizon) / scene.lens
    return np.stack([across, down, np.ones_like(across)], axis=-1)
