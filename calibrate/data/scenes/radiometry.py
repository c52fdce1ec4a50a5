"""From temperatures to what an uncooled long-wave camera delivers: radiance, optics, noise, 14-bit counts."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from advcal_edge.runtime.preprocess.thermal import KELVIN_PER_COUNT

Map = NDArray[np.float32]

PLANCK_KELVIN = 1370.0
"""Second radiation constant over the band's effective wavelength, 14388 um K / 10.5 um (8 to 14 um)."""

NOISE = 0.05
"""Noise-equivalent temperature difference in kelvin, the usual data-sheet value of uncooled sensors."""

OFFSET_CELSIUS = -60.0
"""Temperature of count 0; fourteen bits then reach 103.8 degrees Celsius."""

MAX_COUNT = 2**14 - 1


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

    A surface emits the share `emissivity` of a black body and mirrors the rest from its surroundings. `blur` is the
    deviation of the optics' point spread in output pixels.
    """
    surroundings = radiance(np.full(1, reflected, np.float32))
    emitted = emissivity * radiance(celsius) + (1 - emissivity) * surroundings
    emitted = cv2.GaussianBlur(emitted, (0, 0), blur * celsius.shape[0] / size).astype(np.float32)
    pixels = cv2.resize(emitted, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    seen = apparent_celsius(pixels) + rng.normal(0, NOISE, (size, size))
    counts = np.rint((seen - OFFSET_CELSIUS) / KELVIN_PER_COUNT)
    return np.clip(counts, 0, MAX_COUNT).astype(np.uint16)
