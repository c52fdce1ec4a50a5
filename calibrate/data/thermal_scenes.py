"""Synthetic radiometric thermal scenes: landscape, clutter and one object, through a model of the camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from advcal_edge.calibrate.data.radiometry import Map, sense
from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.calibrate.data.thermal_objects import OBJECTS, Outline, Part, Rng, box, disc

NAMES = tuple(OBJECTS)

SUPERSAMPLING = 2
SUBPIXEL_BITS = 4  # cv2 takes outlines as integers in sixteenths of a pixel

EXTENT = {"drone": (0.25, 0.55), "dog": (0.4, 0.75)}
USUAL_EXTENT = (0.5, 0.9)
"""Longer side of an object as a share of the frame: what size and distance together leave of it."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """Temperature in degrees Celsius and emissivity of every point, both (h, w), painted in place."""

    celsius: Map
    emissivity: Map

    def paint(self, parts: list[Part], scale: float, angle: float, centre: tuple[float, float], mirror: bool) -> None:
        """Draw parts given in units, `scale` pixels each, turned by `angle` radians around `centre` in pixels."""
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        flip = np.array([-1.0 if mirror else 1.0, 1.0])
        for part in parts:
            points = np.asarray(centre) + scale * (part.outline * flip) @ turn
            fixed = np.rint(points * 2**SUBPIXEL_BITS).astype(np.int32)[None]
            cv2.fillPoly(self.celsius, fixed, part.celsius, shift=SUBPIXEL_BITS)
            cv2.fillPoly(self.emissivity, fixed, part.emissivity, shift=SUBPIXEL_BITS)


def thermal_scenes(seed: int, n: int, size: int = 64) -> Samples:
    """Make `n` synthetic frames of raw 14-bit counts, uint16 (size, size), the eight classes equally often.

    The same seed gives the same frames, and a longer run begins with the frames of a shorter one.
    """
    kinds = len(NAMES)
    blocks = [np.random.default_rng([seed, 0, block]).permutation(kinds) for block in range(-(-n // kinds))]
    labels = np.concatenate([*blocks, np.empty(0, np.int64)])[:n].astype(np.int64)
    frames = tuple(
        thermal_scene(NAMES[label], np.random.default_rng([seed, 1, index]), size) for index, label in enumerate(labels)
    )
    return Samples(frames, labels, NAMES, f"synthetic thermal scenes, seed {seed}", "Apache-2.0")


def thermal_scene(name: str, rng: Rng, size: int = 64) -> NDArray[np.uint16]:
    """One frame of raw counts (size, size) showing the class `name`; 10 mK a count, count 0 at -60 degrees Celsius."""
    ambient = float(rng.uniform(-5, 30))
    sky = ambient - float(rng.uniform(3, 15))
    side = SUPERSAMPLING * size
    horizon = float(rng.uniform(-0.3, 0.55))
    canvas = _landscape(ambient, sky, horizon, side, rng)
    _clutter(canvas, ambient, horizon, int(rng.integers(0, 4)), rng)
    extent = float(rng.uniform(*EXTENT.get(name, USUAL_EXTENT)))
    height = rng.uniform(0.35, 0.6) if name == "drone" else rng.uniform(0.45, 0.6)
    centre = (side * float(rng.uniform(0.4, 0.6)), side * float(height))
    tilt = float(rng.normal(0, 0.25 if name == "drone" else 0.06))
    canvas.paint(OBJECTS[name](ambient, rng), extent * side, tilt, centre, bool(rng.random() < 0.5))
    if rng.random() < 0.2:
        _clutter(canvas, ambient, horizon, 1, rng)  # something in front of it
    reflected = (ambient + sky) / 2
    return sense(canvas.celsius, canvas.emissivity, reflected, size, float(rng.uniform(0.5, 1.1)), rng)


def _landscape(ambient: float, sky: float, horizon: float, side: int, rng: Rng) -> Canvas:
    """Ground, and above `horizon` (share of the height; below 0 there is none) a sky that cools toward the zenith."""
    rows = np.linspace(0, 1, side, dtype=np.float32)[:, None]
    ground = ambient + rng.uniform(-3, 6) + rng.uniform(-3, 3) * rows
    above = sky + (ambient - sky) * 0.6 * np.clip(rows / max(horizon, 0.05), 0, 1) ** 3
    relief = rng.uniform(0.2, 1.5) * _texture(side, rng)
    celsius = np.where(rows > horizon, ground + relief, above + 0.3 * relief).astype(np.float32)
    emissivity = np.where(rows > horizon, 0.95, 1.0).astype(np.float32) * np.ones((1, side), np.float32)
    return Canvas(celsius, emissivity)


def _texture(side: int, rng: Rng) -> NDArray[np.float32]:
    """Smooth unit noise on two scales: fields and tufts."""
    coarse, fine = (rng.normal(size=(cells, cells)).astype(np.float32) for cells in (5, 20))
    large = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    small = cv2.resize(fine, (side, side), interpolation=cv2.INTER_CUBIC)
    return (0.7 * large + 0.5 * small).astype(np.float32)


def _clutter(canvas: Canvas, ambient: float, horizon: float, count: int, rng: Rng) -> None:
    """Poles, walls, bushes and warm stones, none of which is an object of a class."""
    side = canvas.celsius.shape[0]
    for _ in range(count):
        outline, celsius = _thing(ambient, rng)
        centre = (side * float(rng.uniform(0, 1)), side * float(max(horizon, 0.1) + rng.uniform(-0.05, 0.5)))
        canvas.paint([Part(outline, celsius, 0.94)], side, float(rng.normal(0, 0.08)), centre, False)


def _thing(ambient: float, rng: Rng) -> tuple[Outline, float]:
    kind = rng.integers(4)
    if kind == 0:
        return box(-0.015, -rng.uniform(0.2, 0.6), 0.015, 0.1), ambient + float(rng.uniform(-2, 5))
    if kind == 1:
        width, height = rng.uniform(0.08, 0.3, 2)
        return box(-width, -height, width, 0.05), ambient + float(rng.uniform(-3, 6))
    if kind == 2:
        bush = disc(0, 0, rng.uniform(0.05, 0.15), rng.uniform(0.04, 0.12))
        return bush + rng.normal(0, 0.012, bush.shape), ambient + float(rng.uniform(-2, 2))
    return disc(0, 0, rng.uniform(0.01, 0.05), rng.uniform(0.01, 0.04)), ambient + float(rng.uniform(2, 25))
