"""Ground, sky and the clutter that stands about."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from advcal_edge.calibrate.data.scenes.shapes import Outline, Part, box, disc
from advcal_edge.calibrate.data.scenes.thing import Thing

Rng = np.random.Generator


@dataclass(frozen=True, slots=True, eq=False)
class Landscape:
    """Ground, and above `horizon` (share of the height; below 0 there is none) a sky that cools toward the zenith."""

    ambient: float
    sky: float
    horizon: float
    ground: tuple[float, float]
    """Excess over the ambient temperature at the top, and its growth over the height, in kelvin."""
    relief: float
    coarse: NDArray[np.float32]
    fine: NDArray[np.float32]

    def texture(self, side: int) -> NDArray[np.float32]:
        """Smooth unit noise (side, side) on two scales: fields and tufts."""
        large = cv2.resize(self.coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        small = cv2.resize(self.fine, (side, side), interpolation=cv2.INTER_CUBIC)
        return (0.7 * large + 0.5 * small).astype(np.float32)


def draw_landscape(ambient: float, sky: float, horizon: float, rng: Rng) -> Landscape:
    """A landscape at an ambient temperature under a sky."""
    ground = (float(rng.uniform(-3, 6)), float(rng.uniform(-3, 3)))
    relief = float(rng.uniform(0.2, 1.5))
    coarse, fine = (rng.normal(size=(cells, cells)).astype(np.float32) for cells in (5, 20))
    return Landscape(ambient, sky, horizon, ground, relief, coarse, fine)


def draw_clutter(ambient: float, horizon: float, count: int, rng: Rng) -> tuple[Thing, ...]:
    """Poles, walls, bushes and warm stones, none of which is an object of a class."""
    things: list[Thing] = []
    for _ in range(count):
        outline, celsius, surface = _shape(ambient, rng)
        centre = (float(rng.uniform(0, 1)), float(max(horizon, 0.1) + rng.uniform(-0.05, 0.5)))
        things.append(Thing((Part(outline, celsius, 0.94, surface),), 1.0, float(rng.normal(0, 0.08)), centre, False))
    return tuple(things)


def _shape(ambient: float, rng: Rng) -> tuple[Outline, float, str]:
    kind = rng.integers(4)
    if kind == 0:
        return box(-0.015, -rng.uniform(0.2, 0.6), 0.015, 0.1), ambient + float(rng.uniform(-2, 5)), "pole"
    if kind == 1:
        width, height = rng.uniform(0.08, 0.3, 2)
        return box(-width, -height, width, 0.05), ambient + float(rng.uniform(-3, 6)), "wall"
    if kind == 2:
        bush = disc(0, 0, rng.uniform(0.05, 0.15), rng.uniform(0.04, 0.12))
        return bush + rng.normal(0, 0.012, bush.shape), ambient + float(rng.uniform(-2, 2)), "foliage"
    stone = disc(0, 0, rng.uniform(0.01, 0.05), rng.uniform(0.01, 0.04))
    return stone, ambient + float(rng.uniform(2, 25)), "stone"
