"""Ground, sky and clutter of a scene, the colours of its surfaces, and the daylight on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from advcal_edge.calibrate.data.builtin.shapes import Outline, Part, PlacedObject, box, disc

Rng = np.random.Generator
Colour = tuple[float, float, float]
"""Reflectance of a surface in red, green and blue light, linear."""

PALETTE: Mapping[str, tuple[str, ...]] = {
    "skin": ("e8b894", "c98f68", "8d5a3b", "5c3a28"),
    "hair": ("2a1d14", "4a3019", "8a6a3a", "151210", "9a9590"),
    "shirt": ("b3261e", "1f4e8c", "e0dcd0", "2f6b3a", "d9a520", "3a3a40", "7a3f80", "e2711d"),
    "trousers": ("22304a", "3c3c3c", "6b5a42", "16181c", "55636e"),
    "shoe": ("1c1a18", "e6e4e0", "5a3a22"),
    "fur": ("8a5a2b", "c49a5f", "2b2420", "d8cdb8", "6a6460", "7d4a2a"),
    "legs": ("7a4f28", "b98d55", "2a2320", "cfc3ac"),
    "snout": ("3a2a1e", "5b4532", "1c1815", "e3dccb"),
    "paint": ("a81c1c", "1d3f7a", "d8d8d6", "26282b", "8c9196", "2f5d46", "d6a31b", "6f1f3a"),
    "glass": ("2a3942", "1d262c", "405864"),
    "rubber": ("1a1a1b", "242424"),
    "rim": ("9ea2a6", "6d7074", "c4c6c8"),
    "trim": ("2c2d2f", "3d3f42"),
    "lamp": ("fff6d8", "f4f4ee"),
    "tail lamp": ("b0120c", "8a0f0a"),
    "steel": ("8f9296", "b5b8bb", "6a6c6e"),
    "load": ("d9d6cc", "3d6a94", "a8521f", "5c7a4a", "e6e6e6", "7a2a26"),
    "tube": ("b01f24", "1c5f9c", "2a2a2c", "2e8a57", "d8d4c6", "e08a1e"),
    "saddle": ("1b1a19", "4a2f1c"),
    "hull": ("e4e5e6", "2a2b2d", "5a5e63", "c8471c"),
    "rotor": ("1f1f20", "4a4b4c", "d8d8d6"),
    "motor": ("3a3b3d", "77797c", "a02a1c"),
    "case": ("4d6b4f", "3c5a78", "8a8c86", "c2a22c", "7d3a2a"),
    "panel": ("d9d9d2", "20242a"),
    "cylinder": ("5a5c5e", "7a6f66", "3a3230"),
    "pipe": ("6b4a36", "77716a", "4a4644"),
    "pole": ("8a8d90", "5e4630", "c9c6bd", "3f4246"),
    "wall": ("9a5a44", "c8bfae", "8d8f91", "b08b5e", "6a7680", "d8d2c4"),
    "foliage": ("2f5a2a", "44702f", "5f7a35", "294a36", "7a6a2e"),
    "stone": ("8a867e", "6d6a66", "a39c8e", "55504a"),
    "ground": ("56703a", "77803f", "6d6e70", "8a8378", "a88f66", "5c4a38", "b9b5ab"),
    "snow": ("e4e9ee",),
    "zenith": ("3f78c2", "6f9fd6", "9fb0c0", "5a86b8"),
    "haze": ("cfdde8", "e2d9c8", "c2c9cf", "e8c9a6"),
}
"""Possible colours of each surface, sRGB."""


@dataclass(frozen=True, slots=True, eq=False)
class Background:
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


def draw_background(ambient: float, sky: float, horizon: float, rng: Rng) -> Background:
    """A background at an ambient temperature under a sky."""
    ground = (float(rng.uniform(-3, 6)), float(rng.uniform(-3, 3)))
    relief = float(rng.uniform(0.2, 1.5))
    coarse, fine = (rng.normal(size=(cells, cells)).astype(np.float32) for cells in (5, 20))
    return Background(ambient, sky, horizon, ground, relief, coarse, fine)


def draw_clutter(ambient: float, horizon: float, count: int, rng: Rng) -> tuple[PlacedObject, ...]:
    """Poles, walls, bushes and warm stones; none is an object of a class."""
    objects: list[PlacedObject] = []
    for _ in range(count):
        outline, celsius, surface = _shape(ambient, rng)
        centre = (float(rng.uniform(0, 1)), float(max(horizon, 0.1) + rng.uniform(-0.05, 0.5)))
        objects.append(
            PlacedObject((Part(outline, celsius, 0.94, surface),), 1.0, float(rng.normal(0, 0.08)), centre, False)
        )
    return tuple(objects)


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


@dataclass(frozen=True, slots=True)
class Light:
    """Sun, sky light and exposure of one moment; `sun` points toward it (right, up, toward the camera)."""

    sun: tuple[float, float, float]
    direct: float
    ambient: float
    tint: Colour
    exposure: float
    noise: float
    night: bool


def linear(code: str) -> Colour:
    """Linear shares of a colour in sRGB hexadecimals (IEC 61966-2-1, the pure power approximation)."""
    red, green, blue = (float((int(code[at : at + 2], 16) / 255) ** 2.2) for at in (0, 2, 4))
    return red, green, blue


def paint_chart(rng: Rng) -> dict[str, Colour]:
    """One colour per kind of surface, each slightly different from the palette."""
    chart: dict[str, Colour] = {}
    for surface, codes in PALETTE.items():
        colour = linear(codes[int(rng.integers(len(codes)))])
        brightness, *cast = np.exp(rng.normal(0, (0.18, 0.05, 0.05, 0.05)))
        red, green, blue = (float(min(c * brightness * k, 1)) for c, k in zip(colour, cast, strict=True))
        chart[surface] = (red, green, blue)
    return chart


def daylight(rng: Rng) -> Light:
    """From noon to dusk, clear to overcast; one scene in seven is at night, under a lamp and with a noisy image."""
    night = bool(rng.random() < 1 / 7)
    azimuth, elevation = rng.uniform(-2.4, 2.4), rng.uniform(0.25, 1.25)
    sun = (
        float(np.sin(azimuth) * np.cos(elevation)),
        float(np.sin(elevation)),
        float(abs(np.cos(azimuth)) * np.cos(elevation)) + 0.2,
    )
    direct, ambient = float(rng.uniform(0.1, 1.0)), float(rng.uniform(0.35, 0.7))
    warmth = float(np.clip(rng.normal(0.5 - 0.4 * elevation, 0.2), -0.3, 0.5))
    tint = (1 + 0.35 * warmth, 1.0, 1 - 0.5 * warmth)
    exposure = float(np.exp(rng.normal(0, 0.3)))
    noise = float(rng.uniform(0.003, 0.015))
    if night:
        return Light(sun, 0.5 * direct, 0.35 * ambient, (1.1, 1.0, 0.8), 0.22 * exposure, 2.5 * noise, night)
    return Light(sun, direct, ambient, tint, exposure, noise, night)
