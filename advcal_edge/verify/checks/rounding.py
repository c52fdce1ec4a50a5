"""A sensor delivers whole grey levels: does an adversarial input survive being rounded to them?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from advcal_edge.spec import Modality
from advcal_edge.verify.check import Measurement, check

SURVIVAL_LIMIT = 0.5
FINE = 32  # steps of the grid that an attack moves values by on average; rounding takes at most half a step


@check(order=60, at_least=SURVIVAL_LIMIT, required=False)
def survives_rounding(
    modality: Modality, fooled: NDArray[np.bool_], survived: NDArray[np.bool_], moved: NDArray[np.float32]
) -> Measurement:
    """Share of successful inputs that still fool the engine on the sensor's grid; advisory: it judges the attack.

    For each sample (n,): whether an input fools the engine, whether it does so after rounding, and how far values were
    moved on average. Skipped where the grid is so much finer than the attack that rounding cannot undo it, as with 16
    bits.
    """
    why = f"share of successes left after rounding to {modality.bit_depth} bits"
    if not fooled.any():
        return Measurement(None, "no attack succeeded")
    step = modality.input.width / (2**modality.bit_depth - 1)
    steps = float(moved[fooled].mean()) / step
    if steps > FINE:
        why = (
            f"attacks move values by {steps:.0f} steps of the sensor's {modality.bit_depth}-bit grid, too many to undo"
        )
        return Measurement(None, why)
    return Measurement(float(survived[fooled].mean()), why)


def round_to_grid(x: NDArray[np.float32], modality: Modality) -> NDArray[np.float32]:
    """Nearest of the 2 ** bit_depth values the sensor can deliver."""
    low, width = modality.input.bounds[0], modality.input.width
    levels = 2**modality.bit_depth - 1
    rounded: NDArray[np.float32] = (np.rint((x - low) / width * levels) / levels * width + low).astype(np.float32)
    return rounded
