"""The thermal camera: from temperatures to the counts of an uncooled long-wave sensor.

Radiance, optics, noise and counts of 16 bits.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from advcal_edge.calibrate.data.builtin.background import Background
from advcal_edge.calibrate.data.builtin.scene import Scene, paint_scene
from advcal_edge.calibrate.data.builtin.shapes import SUPERSAMPLING, Map
from advcal_edge.runtime.sensors.thermal import KELVIN_PER_COUNT

PLANCK_KELVIN = 1370.0
"""Second radiation constant over the band's effective wavelength, 14388 um K / 10.5 um (8 to 14 um)."""

NOISE = 0.05
"""Noise-equivalent temperature difference in kelvin, the usual data-sheet value of uncooled sensors."""

OFFSET_CELSIUS = -273.15
"""Temperature of count 0: counts are of kelvin, as radiometric cameras send them."""

MAX_COUNT = 2**16 - 1


def thermal_counts(scene: Scene, size: int = 64) -> NDArray[np.uint16]:
    """Raw counts (size, size); 10 mK per count, count 0 at 0 K."""
    canvas = _temperatures(scene.background, SUPERSAMPLING * size)
    paint_scene(canvas, scene, lambda part, _: None if part.detail else (part.celsius, part.emissivity))
    noise = np.random.default_rng()
    noise.bit_generator.state = scene.thermal_stream
    reflected = (scene.background.ambient + scene.background.sky) / 2
    return sense(canvas[..., 0], canvas[..., 1], reflected, size, scene.thermal_blur, noise)


def _temperatures(background: Background, side: int) -> Map:
    """Temperature in degrees Celsius and emissivity, (side, side, 2)."""
    rows = np.linspace(0, 1, side, dtype=np.float32)[:, None]
    ground = background.ambient + background.ground[0] + background.ground[1] * rows
    toward_horizon = np.clip(rows / max(background.horizon, 0.05), 0, 1)
    above = background.sky + (background.ambient - background.sky) * 0.6 * toward_horizon**3
    relief = background.relief * background.texture(side)
    celsius = np.where(rows > background.horizon, ground + relief, above + 0.3 * relief).astype(np.float32)
    emissivity = np.where(rows > background.horizon, 0.95, 1.0).astype(np.float32) * np.ones((1, side), np.float32)
    return np.stack([celsius, emissivity], axis=2)


def radiance(celsius: Map) -> Map:
    """In-band radiance of a black body, in units of the constant in front of Planck's law."""
    emitted: Map = 1 / np.expm1(PLANCK_KELVIN / (celsius + np.float32(273.15)))
    return emitted


def apparent_celsius(emitted: Map) -> Map:
    """The temperature of the black body with this radiance: the inverse of `radiance`."""
    kelvin: Map = (PLANCK_KELVIN / np.log1p(1 / emitted)).astype(np.float32)
    return kelvin - np.float32(273.15)


def sense(
    celsius: Map, emissivity: Map, reflected: float, size: int, blur: float, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Counts (size, size) of a grey-body scene (h, w) under surroundings of `reflected` degrees Celsius.

    A surface emits the share `emissivity` of a black body and reflects the rest from its surroundings. `blur` is the
    deviation of the optics' point spread in output pixels.
    """
    surroundings = radiance(np.full(1, reflected, np.float32))
    emitted = emissivity * radiance(celsius) + (1 - emissivity) * surroundings
    emitted = cv2.GaussianBlur(emitted, (0, 0), blur * celsius.shape[0] / size).astype(np.float32)
    pixels = cv2.resize(emitted, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    seen = apparent_celsius(pixels) + rng.normal(0, NOISE, (size, size))
    counts = np.rint((seen - OFFSET_CELSIUS) / KELVIN_PER_COUNT)
    return np.clip(counts, 0, MAX_COUNT).astype(np.uint16)
