"""The thermal camera: temperatures and emissivities of the scene, through a model of an uncooled sensor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from advcal_edge.calibrate.data.scenes.canvas import SUPERSAMPLING, Map, paint_scene
from advcal_edge.calibrate.data.scenes.landscape import Landscape
from advcal_edge.calibrate.data.scenes.radiometry import sense
from advcal_edge.calibrate.data.scenes.scene import Scene


def thermal_counts(scene: Scene, size: int = 64) -> NDArray[np.uint16]:
    """Raw 14-bit counts (size, size); 10 mK a count, count 0 at -60 degrees Celsius."""
    canvas = _landscape(scene.landscape, SUPERSAMPLING * size)
    paint_scene(canvas, scene, lambda part, _: None if part.detail else (part.celsius, part.emissivity))
    noise = np.random.default_rng()
    noise.bit_generator.state = scene.thermal_stream
    reflected = (scene.landscape.ambient + scene.landscape.sky) / 2
    return sense(canvas[..., 0], canvas[..., 1], reflected, size, scene.thermal_blur, noise)


def _landscape(land: Landscape, side: int) -> Map:
    """Temperature in degrees Celsius and emissivity, (side, side, 2)."""
    rows = np.linspace(0, 1, side, dtype=np.float32)[:, None]
    ground = land.ambient + land.ground[0] + land.ground[1] * rows
    above = land.sky + (land.ambient - land.sky) * 0.6 * np.clip(rows / max(land.horizon, 0.05), 0, 1) ** 3
    relief = land.relief * land.texture(side)
    celsius = np.where(rows > land.horizon, ground + relief, above + 0.3 * relief).astype(np.float32)
    emissivity = np.where(rows > land.horizon, 0.95, 1.0).astype(np.float32) * np.ones((1, side), np.float32)
    return np.stack([celsius, emissivity], axis=2)
