"""The synthetic scenes as the thermal camera sees them."""

from __future__ import annotations

from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.calibrate.data.scenes import NAMES, scene_samples

__all__ = ["NAMES", "thermal_scenes"]


def thermal_scenes(seed: int, n: int, size: int = 64) -> Samples:
    """Make `n` synthetic frames of raw 14-bit counts, uint16 (size, size), the eight classes equally often.

    The same seed gives the same frames, and a longer run begins with the frames of a shorter one.
    """
    return scene_samples("thermal", seed, n, size)
