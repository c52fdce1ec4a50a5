"""The ranging sensors: the depth camera, and the point cloud of the object's surroundings."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from advcal_edge.calibrate.data.builtin.scene import Scene, paint_scene
from advcal_edge.calibrate.data.builtin.shapes import FAR, SUPERSAMPLING, Map

DEPTH_STREAM = 3
DEPTH_NOISE = 0.0015
"""Deviation per metre of distance, as a share of it: the error of stereo grows with the square of the distance."""

LOST = 0.01
"""Share of pixels without a return."""

POINT_STREAM = 4
POINT_SIDE = 160
"""Number of directions that the sensor measures along each side of the frame."""

POINTS = 600, 3000
POINT_NOISE = 0.004
"""Deviation of a distance, as a share of it."""


def depth_metres(scene: Scene, size: int = 64) -> NDArray[np.float64]:
    """Distances along the axis (size, size) in metres, with noise that grows with the distance.

    Whole millimetres, as such cameras measure; 0 where nothing is measured, as in the sky.
    """
    metres = distance_metres(scene, SUPERSAMPLING * size)[::SUPERSAMPLING, ::SUPERSAMPLING]
    noise = scene.stream(DEPTH_STREAM)
    measured = metres + DEPTH_NOISE * metres**2 * noise.standard_normal(metres.shape)
    lost = (metres <= 0) | (metres >= FAR) | (noise.random(metres.shape) < LOST)
    return np.where(lost, 0, np.clip(np.rint(1000 * measured), 1, 2**16 - 1) / 1000)


def distance_metres(scene: Scene, side: int) -> Map:
    """Exact distances along the axis (side, side) in metres: ground, clutter, object; 0 in the sky."""
    rows = (np.arange(side) + 0.5) / side
    ground = np.where(rows > scene.background.horizon, scene.ground_distance(rows), 0).astype(np.float32)
    bumps = 1 + np.float32(0.01) * scene.background.texture(side)
    canvas = np.zeros((side, side, 3), np.float32)
    canvas[..., 0] = np.minimum(ground[:, None] * bumps, FAR)
    # plane of the part, depth of the object's middle before that plane, how far the part stands out
    paint_scene(
        canvas,
        scene,
        lambda part, placed: None if part.detail else (placed.distance, placed.depth, 1.3 if part.joint else 1.0),
    )
    bulge = cv2.GaussianBlur(canvas[..., 2], (0, 0), 0.03 * side)
    return np.asarray(canvas[..., 0] - canvas[..., 1] * bulge, np.float32)


def point_cloud(scene: Scene, size: int = 64) -> NDArray[np.float32]:
    """Between 600 and 3000 points (p, 3) in metres: x to the right, y down, z forward; `size` changes nothing.

    The cloud is cut to a ball around the object, slightly larger than it, as a detector would return it.
    """
    noise = scene.stream(POINT_STREAM)
    points = back_project(scene, distance_metres(scene, POINT_SIDE)).reshape(-1, 3)
    target = scene.object
    middle = _ray(scene, target.centre[0], target.centre[1]) * target.distance
    reach = scene.metres * noise.uniform(0.55, 0.75)
    near = np.linalg.norm(points - middle, axis=1) < reach
    seen = points[near & (points[:, 2] > 0) & (points[:, 2] < FAR)]
    if len(seen) < POINTS[0] // 10:  # no object: the nearest of the surroundings
        order = np.argsort(np.linalg.norm(points - middle, axis=1) + FAR * (points[:, 2] <= 0))
        seen = points[order[: POINTS[1]]]
    count = int(noise.integers(POINTS[0], POINTS[1] + 1))
    chosen = seen[noise.choice(len(seen), count, replace=len(seen) < count)]
    # the error is along the ray: the distance of a point changes, not its direction
    measured: NDArray[np.float32] = (chosen * (1 + POINT_NOISE * noise.standard_normal((count, 1)))).astype(np.float32)
    return measured


def back_project(scene: Scene, metres: NDArray[np.float32]) -> NDArray[np.float64]:
    """Points (side, side, 3) of a map of distances along the axis."""
    steps = (np.arange(metres.shape[0]) + 0.5) / metres.shape[0]
    x, y = np.meshgrid(steps, steps)
    return _ray(scene, x, y) * metres[..., None]


def _ray(scene: Scene, x: NDArray[np.float64] | float, y: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Directions (..., 3) of places in the frame, 1 along the axis, which is level and at the height of the horizon."""
    across, down = np.subtract(x, 0.5) / scene.lens, np.subtract(y, scene.background.horizon) / scene.lens
    return np.stack([across, down, np.ones_like(across)], axis=-1)
