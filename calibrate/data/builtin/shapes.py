"""Outlines of drawn objects: how their joints move, where they are placed, and how they are painted into maps.

Coordinates: x to the right and y down, an object's longer side about one unit, its centre at the origin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Outline = NDArray[np.float64]
Point = tuple[float, float]
FAR = 40.0
"""Maximum range of depth cameras, in metres."""

Map = NDArray[np.float32]
"""Values of a scene on a square grid (side, side) or (side, side, channels)."""

SUPERSAMPLING = 2
"""Cells of a map per pixel of the sensor, along each side."""

SUBPIXEL_BITS = 4  # cv2 takes outlines as integers in sixteenths of a pixel


@dataclass(frozen=True, slots=True)
class Joint:
    """Motion of a part about `pivot`: a limb swings, a wheel rolls, a rotor spins; `phase` in turns.

    `amount` is the limb's largest angle in radians, or the wheel's radius in units.
    """

    kind: Literal["swing", "roll", "spin"]
    pivot: Point
    amount: float
    phase: float = 0.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Speeds of an object's joints: strides and rotor turns per second, and units travelled per second."""

    strides: float
    turns: float
    travel: float


STILL = Pace(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Pose:
    """Position of an object at a moment: its displacement, in shares of the frame, and the time since it moves."""

    offset: Point = (0.0, 0.0)
    pace: Pace = STILL
    seconds: float = 0.0


AT_REST = Pose()


@dataclass(frozen=True, slots=True)
class Part:
    """One closed outline (k, 2) of uniform temperature, emissivity and surface; later parts cover earlier ones.

    A `detail` has the temperature of the part below it, so it is visible only in light.
    """

    outline: Outline
    celsius: float
    emissivity: float
    surface: str
    joint: Joint | None = None
    detail: bool = False


def disc(x: float, y: float, rx: float, ry: float) -> Outline:
    """An ellipse."""
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def box(left: float, top: float, right: float, bottom: float) -> Outline:
    """A rectangle."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def bar(start: Point, end: Point, width: float) -> Outline:
    """A straight limb of constant width."""
    a, b = np.array(start), np.array(end)
    across = np.array([a[1] - b[1], b[0] - a[0]]) * (width / 2 / max(float(np.hypot(*(b - a))), 1e-6))
    return np.stack([a + across, b + across, b - across, a - across])


def ring(x: float, y: float, radius: float, width: float) -> Outline:
    """A wheel rim as one outline, around the outside and back along the inside."""
    angle = np.linspace(0, 2 * np.pi, 25)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    rim: Outline = np.concatenate([circle * (radius + width / 2), circle[::-1] * (radius - width / 2)])
    rim += (x, y)
    return rim


def moved(part: Part, pose: Pose) -> Outline:
    """The part's outline after its joint has moved; at time zero it is unchanged."""
    joint, pace, seconds = part.joint, pose.pace, pose.seconds
    if joint is None or seconds == 0:
        return part.outline
    if joint.kind == "spin":  # a rotor seen from the side changes its width along x
        across = np.array([np.cos(2 * np.pi * pace.turns * seconds), 1.0])
        seen: Outline = (part.outline - joint.pivot) * across + joint.pivot
        return seen
    if joint.kind == "roll":
        angle = pace.travel * seconds / joint.amount
    else:
        wave = 2 * np.pi * (pace.strides * seconds + joint.phase)
        angle = joint.amount * float(np.sin(wave) - np.sin(2 * np.pi * joint.phase))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned: Outline = (part.outline - joint.pivot) @ turn + joint.pivot
    return turned


@dataclass(frozen=True, slots=True, eq=False)
class PlacedObject:
    """Parts placed in the frame: `scale` and `centre` in shares of the frame, `angle` in radians."""

    parts: tuple[Part, ...]
    scale: float
    angle: float
    centre: Point
    mirror: bool
    distance: float = FAR
    """Metres to its plane."""
    depth: float = 0.1
    """Metres by which its middle stands out of its plane."""

    def outline(self, part: Part, side: int, pose: Pose = AT_REST) -> Outline:
        """Pixels (k, 2) of a part in a frame of `side` pixels."""
        turn = np.array([[np.cos(self.angle), np.sin(self.angle)], [-np.sin(self.angle), np.cos(self.angle)]])
        flip = np.array([-1.0 if self.mirror else 1.0, 1.0])
        centre = np.asarray((side * (self.centre[0] + pose.offset[0]), side * (self.centre[1] + pose.offset[1])))
        placed: Outline = centre + self.scale * side * (moved(part, pose) * flip) @ turn
        return placed

    def base(self) -> float:
        """Height at which it touches the ground, as a share."""
        lowest = [self.outline(part, 1)[:, 1].max() for part in self.parts if not part.detail]
        return float(max(lowest, default=self.centre[1] + 0.3 * self.scale))


Ink = Callable[[Part, PlacedObject], tuple[float, ...] | None]
"""Values of a part in each channel of the map; empty for none."""


def fill(canvas: Map, outline: Outline, values: tuple[float, ...]) -> None:
    """Set the inside of an outline in pixels to `values`, one per channel, in place."""
    fixed = np.rint(outline * 2**SUBPIXEL_BITS).astype(np.int32)[None]
    cv2.fillPoly(canvas, fixed, values, shift=SUBPIXEL_BITS)


def paint(canvas: Map, objects: Sequence[PlacedObject], ink: Ink, pose: Pose) -> None:
    """Paint every part of `objects` into the square `canvas` (side, side, channels) in place, back to front."""
    for placed in objects:
        for part in placed.parts:
            values = ink(part, placed)
            if values is not None:
                fill(canvas, placed.outline(part, canvas.shape[0], pose), values)
