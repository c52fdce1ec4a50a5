"""The event camera: a pixel fires when its logarithmic intensity has changed by a threshold since it last fired.

The model is that of ESIM (Rebecq et al. 2018): intensities between finely spaced renderings follow straight lines.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from advcal_edge.calibrate.data.scenes.scene import Scene
from advcal_edge.calibrate.data.scenes.visible import VIDEO_RATE, set_up

STREAM = 5
SECONDS = 1 / VIDEO_RATE
"""From the first frame of the video to the second."""

RENDERINGS = 9
THRESHOLD = 0.15
"""Change of the natural logarithm of intensity that fires an event; each pixel has its own within a few per cent."""

MISMATCH = 0.04
DARK = 0.02
"""Radiance below which a pixel no longer tells changes: the logarithm is of the radiance plus this."""

STRAY = 0.1
"""Events that a pixel fires a second of its own accord."""


def event_stream(scene: Scene, size: int = 64) -> NDArray[np.float64]:
    """Events (n, 4) in order of time: seconds, x, y in pixels of a (size, size) sensor, and polarity 1 or 0."""
    stage, noise = set_up(scene, size), scene.stream(STREAM)
    moments = np.linspace(0, SECONDS, RENDERINGS)
    levels = [_logarithm(stage.radiance(float(t))) for t in moments]
    thresholds = THRESHOLD * (1 + MISMATCH * noise.standard_normal((size, size)))
    memory = levels[0] + thresholds * noise.uniform(-0.5, 0.5, (size, size))  # where each pixel last fired
    fired: list[NDArray[np.float64]] = [_stray(size, noise)]
    for start, before, after in zip(moments, levels, levels[1:], strict=False):
        change = after - before
        rises = change > 0
        polarity = np.where(rises, 1.0, -1.0)
        steps = np.maximum(np.floor(polarity * (after - memory) / thresholds), 0)
        for nth in range(1, int(steps.max()) + 1):
            y, x = np.nonzero(steps >= nth)
            crossed = memory[y, x] + nth * polarity[y, x] * thresholds[y, x]
            share = np.clip((crossed - before[y, x]) / change[y, x], 0, 1)
            seconds = start + share * (moments[1] - moments[0])
            fired.append(np.stack([seconds, x, y, rises[y, x]], axis=1).astype(np.float64))
        memory = memory + polarity * steps * thresholds
    events = np.concatenate(fired)
    return events[np.argsort(events[:, 0], kind="stable")]


def _logarithm(radiance: NDArray[np.float32]) -> NDArray[np.float64]:
    grey = cv2.cvtColor(radiance, cv2.COLOR_RGB2GRAY)
    return np.log(np.maximum(grey, 0).astype(np.float64) + DARK)


def _stray(size: int, noise: np.random.Generator) -> NDArray[np.float64]:
    """Events of the sensor's own noise, at least one."""
    count = max(1, int(noise.poisson(STRAY * SECONDS * size**2)))
    x, y = noise.integers(0, size, (2, count))
    return np.stack([noise.uniform(0, SECONDS, count), x, y, noise.integers(0, 2, count)], axis=1).astype(np.float64)
