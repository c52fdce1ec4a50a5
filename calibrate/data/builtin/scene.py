"""A synthetic scene before any sensor: background, clutter and one object with heat, colour, distance and motion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.calibrate.data.builtin.background import (
    Background,
    Colour,
    Light,
    daylight,
    draw_background,
    draw_clutter,
    paint_chart,
)
from advcal_edge.calibrate.data.builtin.motion import Motion, draw_motion
from advcal_edge.calibrate.data.builtin.objects import OBJECT_NAMES, OBJECTS, Rng
from advcal_edge.calibrate.data.builtin.shapes import FAR, Ink, Map, PlacedObject, Point, paint

EXTENT = {"drone": (0.25, 0.55), "dog": (0.4, 0.75)}
USUAL_EXTENT = (0.5, 0.9)
"""Longer side of an object as a share of the frame, from its size and distance."""

METRES: Mapping[str, tuple[float, float]] = {
    "person": (1.5, 1.95),
    "dog": (0.6, 1.2),
    "car": (3.6, 4.9),
    "truck": (6.0, 9.0),
    "bicycle": (1.5, 1.9),
    "drone": (0.35, 1.0),
    "hot machine": (0.8, 2.0),
    "empty scene": (1.0, 3.0),
}
"""Longer side of an object."""

LENS = (0.55, 0.85)
"""Focal length as a share of the frame's side: fields of view of 61 to 85 degrees."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """All properties of one moment and place that a sensor can measure, and the random streams of the sensors."""

    name: str
    background: Background
    behind: tuple[PlacedObject, ...]
    object: PlacedObject
    """The object; no parts in the empty scene."""
    front: tuple[PlacedObject, ...]
    active: bool
    metres: float
    lens: float
    height: float
    """Metres of the camera above the ground."""
    motion: Motion
    light: Light
    colours: Mapping[str, Colour]
    thermal_blur: float
    thermal_stream: Mapping[str, Any]
    """State of the random stream of the thermal sensor's noise."""
    entropy: tuple[int, ...]

    def stream(self, sensor: int) -> Rng:
        """New random numbers for a sensor, numbered from 1: a zero would not change the seed sequence."""
        return np.random.default_rng([*self.entropy, sensor])

    def ground_distance(self, row: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Metres to the ground at a share of the height below the horizon, `FAR` at most."""
        below = np.maximum(np.asarray(row) - self.background.horizon, 1e-3)
        return np.minimum(self.height * self.lens / below, FAR)


def paint_scene(canvas: Map, scene: Scene, ink: Ink, seconds: float = 0.0) -> None:
    """Paint clutter and object at their positions after `seconds`, in place."""
    background = scene.motion.of_background(seconds)
    paint(canvas, scene.behind, ink, background)
    paint(canvas, [scene.object], ink, scene.motion.of_object(seconds))
    paint(canvas, scene.front, ink, background)


def labels_of(seed: int, n: int) -> NDArray[np.int64]:
    """Classes (n,) of the scenes of `seed`: shuffled blocks in which each class occurs once."""
    kinds = len(OBJECT_NAMES)
    blocks = [np.random.default_rng([seed, 0, block]).permutation(kinds) for block in range(-(-n // kinds))]
    return np.concatenate([*blocks, np.empty(0, np.int64)])[:n].astype(np.int64)


def draw_scenes(seed: int, n: int) -> Iterator[Scene]:
    """The scenes of `seed` one by one."""
    for index, label in enumerate(labels_of(seed, n)):
        yield draw_scene(OBJECT_NAMES[label], seed, index)


def draw_scene(name: str, seed: int, index: int = 0) -> Scene:
    """One scene of the class `name`; the thermal camera's view has its own random stream."""
    heat, rest = np.random.default_rng([seed, 1, index]), np.random.default_rng([seed, 2, index])
    ambient = float(heat.uniform(-5, 30))
    sky = ambient - float(heat.uniform(3, 15))
    horizon = float(heat.uniform(-0.3, 0.55))
    background = draw_background(ambient, sky, horizon, heat)
    behind = draw_clutter(ambient, horizon, int(heat.integers(0, 4)), heat)
    extent = float(heat.uniform(*EXTENT.get(name, USUAL_EXTENT)))
    row = heat.uniform(0.35, 0.6) if name == "drone" else heat.uniform(0.45, 0.6)
    centre = (float(heat.uniform(0.4, 0.6)), float(row))
    tilt = float(heat.normal(0, 0.25 if name == "drone" else 0.06))
    body = OBJECTS[name](ambient, heat)
    mirror = bool(heat.random() < 0.5)
    front = draw_clutter(ambient, horizon, 1, heat) if heat.random() < 0.2 else ()
    blur = float(heat.uniform(0.5, 1.1))

    metres, lens = float(rest.uniform(*METRES[name])), float(rest.uniform(*LENS))
    distance = metres * lens / extent
    placed = PlacedObject(body.parts, extent, tilt, centre, mirror, distance, 0.12 * metres)
    touch = max(placed.base() - horizon, 0.05)
    height = max(0.25, distance * touch / lens) * (float(rest.uniform(1.2, 2.0)) if name == "drone" else 1.0)
    motion = draw_motion(name, body.active, metres, lens / distance, -1.0 if mirror else 1.0, rest)
    light, colours = daylight(rest), paint_chart(rest)
    if ambient < 1 and rest.random() < 0.6:
        colours["ground"] = colours["snow"]

    eye = (horizon, lens * height)
    return Scene(
        name=name,
        background=background,
        behind=_stand(behind, eye, 1.15 * distance, FAR),
        object=placed,
        front=_stand(front, eye, 0.4 * distance, 0.85 * distance),
        active=body.active,
        metres=metres,
        lens=lens,
        height=height,
        motion=motion,
        light=light,
        colours=colours,
        thermal_blur=blur,
        thermal_stream=heat.bit_generator.state,
        entropy=(seed, 2, index),
    )


def _stand(objects: tuple[PlacedObject, ...], eye: Point, nearest: float, farthest: float) -> tuple[PlacedObject, ...]:
    """Put clutter on the ground where its foot is visible, and later objects no farther than those they hide."""
    horizon, scale = eye
    standing: list[PlacedObject] = []
    for placed in objects:
        farthest = float(np.clip(scale / max(placed.base() - horizon, 1e-3), nearest, farthest))
        standing.append(replace(placed, distance=farthest, depth=0.02 * farthest))
    return tuple(standing)
