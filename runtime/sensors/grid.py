"""The grid of distinct values of a sensor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.probe import from_levels
from advcal_edge.spec import Modality


def snap(x: NDArray[Any], modality: Modality) -> NDArray[np.float32]:
    """Clip to the bounds and round to the nearest of `2 ** bit_depth` values within them; 8 or 16 bits.

    The values equal those that a bundle restores from stored levels, bit for bit.
    """
    kind = np.uint8 if modality.bit_depth == 8 else np.uint16
    share = np.clip((x.astype(np.float64) - modality.input.bounds[0]) / modality.input.width, 0, 1)
    return from_levels(np.rint(share * (2**modality.bit_depth - 1)).astype(kind), modality.input)
