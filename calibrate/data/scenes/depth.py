"""The depth camera: distance of whatever is nearest in each pixel, with noise that grows with the distance."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from advcal_edge.calibrate.data.scenes.canvas import SUPERSAMPLING, Map, paint_scene
from advcal_edge.calibrate.data.scenes.scene import Scene
from advcal_edge.calibrate.data.scenes.thing import FAR

STREAM = 3
NOISE = 0.0015
"""Deviation per metre of distance, as a share of it: stereo errs with the square of the distance."""

LOST = 0.01
"""Share of pixels without an answer."""


def depth_millimetres(scene: Scene, size: int = 64) -> NDArray[np.uint16]:
    """Distances along the axis (size, size) in millimetres; 0 where nothing is measured, as in the sky."""
    metres = distance_metres(scene, SUPERSAMPLING * size)[::SUPERSAMPLING, ::SUPERSAMPLING]
    noise = scene.stream(STREAM)
    measured = metres + NOISE * metres**2 * noise.standard_normal(metres.shape)
    lost = (metres <= 0) | (metres >= FAR) | (noise.random(metres.shape) < LOST)
    return np.where(lost, 0, np.clip(np.rint(1000 * measured), 1, 2**16 - 1)).astype(np.uint16)


def distance_metres(scene: Scene, side: int) -> Map:
    """Exact distances along the axis (side, side) in metres: ground, clutter, object; 0 in the sky."""
    rows = (np.arange(side) + 0.5) / side
    ground = np.where(rows > scene.landscape.horizon, scene.ground_distance(rows), 0).astype(np.float32)
    bumps = 1 + np.float32(0.01) * scene.landscape.texture(side)
    canvas = np.zeros((side, side, 3), np.float32)
    canvas[..., 0] = np.minimum(ground[:, None] * bumps, FAR)
    # plane of the part, depth of its thing's middle before that plane, how far the part stands out
    paint_scene(
        canvas,
        scene,
        lambda part, thing: None if part.detail else (thing.distance, thing.depth, 1.3 if part.joint else 1.0),
    )
    bulge = cv2.GaussianBlur(canvas[..., 2], (0, 0), 0.03 * side)
    return np.asarray(canvas[..., 0] - canvas[..., 1] * bulge, np.float32)


def object_mask(scene: Scene, side: int, seconds: float = 0.0) -> NDArray[np.bool_]:
    """Where the object is seen (side, side) after `seconds`: not where clutter hides it."""
    canvas = np.zeros((side, side, 1), np.float32)
    paint_scene(canvas, scene, lambda part, thing: None if part.detail else (float(thing is scene.thing),), seconds)
    return canvas[..., 0] > 0
