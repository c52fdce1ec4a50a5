"""Painting outlines into maps, with edges to a sixteenth of a pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from advcal_edge.calibrate.data.scenes.scene import Scene
from advcal_edge.calibrate.data.scenes.shapes import Outline, Part, Pose
from advcal_edge.calibrate.data.scenes.thing import Thing

Map = NDArray[np.float32]
Ink = Callable[[Part, Thing], tuple[float, ...] | None]
"""What a part leaves in each channel of the map; nothing for none."""

SUPERSAMPLING = 2
SUBPIXEL_BITS = 4  # cv2 takes outlines as integers in sixteenths of a pixel


def fill(canvas: Map, outline: Outline, values: tuple[float, ...]) -> None:
    """Set the inside of an outline in pixels to `values`, one a channel, in place."""
    fixed = np.rint(outline * 2**SUBPIXEL_BITS).astype(np.int32)[None]
    cv2.fillPoly(canvas, fixed, values, shift=SUBPIXEL_BITS)


def paint(canvas: Map, things: Sequence[Thing], ink: Ink, pose: Pose) -> None:
    """Paint every part of `things` into the square `canvas` (side, side, channels) in place, back to front."""
    for thing in things:
        for part in thing.parts:
            values = ink(part, thing)
            if values is not None:
                fill(canvas, thing.outline(part, canvas.shape[0], pose), values)


def paint_scene(canvas: Map, scene: Scene, ink: Ink, seconds: float = 0.0) -> None:
    """Paint clutter and object as they stand after `seconds`, in place."""
    landscape = scene.motion.of_landscape(seconds)
    paint(canvas, scene.behind, ink, landscape)
    paint(canvas, [scene.thing], ink, scene.motion.of_object(seconds))
    paint(canvas, scene.front, ink, landscape)
