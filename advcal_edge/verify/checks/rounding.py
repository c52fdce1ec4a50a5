"""The grey levels that a sensor delivers: adversarial inputs are rounded to them to see which survive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from advcal_edge.spec import Modality


def round_to_grid(x: NDArray[np.float32], modality: Modality) -> NDArray[np.float32]:
    """Nearest of the 2 ** bit_depth values the sensor can deliver."""
    low, width = modality.input.bounds[0], modality.input.width
    levels = 2**modality.bit_depth - 1
    rounded: NDArray[np.float32] = (np.rint((x - low) / width * levels) / levels * width + low).astype(np.float32)
    return rounded
