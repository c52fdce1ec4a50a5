"""A sensor delivers whole grey levels: does an adversarial input survive being rounded to them?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import Victim
from advcal_edge.spec import Modality
from advcal_edge.verify.check import Check, at_least, skipped
from advcal_edge.verify.evidence import Evidence, Samples, predict, winning_inputs

SURVIVAL_LIMIT = 0.5
FINE = 32  # steps of the grid that an attack moves values by on average; rounding takes at most half a step


def survives_rounding(engine: Victim, modality: Modality, samples: Samples, evidence: Sequence[Evidence]) -> Check:
    """Share of successful inputs that still fool the engine on the sensor's grid; advisory: it judges the attack.

    Skipped where the grid is so much finer than the attack that rounding cannot undo it, as with 16 bits.
    """
    limit, why = f">= {SURVIVAL_LIMIT:g}", f"share of successes left after rounding to {modality.bit_depth} bits"
    x_adv, fooled = winning_inputs(samples, evidence)
    if not fooled.any():
        return skipped("survives_rounding", limit, "no attack succeeded", required=False)
    step = modality.input.width / (2**modality.bit_depth - 1)
    moved = float(np.abs(x_adv[fooled] - samples.x[fooled]).mean()) / step
    if moved > FINE:
        why = (
            f"attacks move values by {moved:.0f} steps of the sensor's {modality.bit_depth}-bit grid, too many to undo"
        )
        return skipped("survives_rounding", limit, why, required=False)
    rounded = samples.threat.project(round_to_grid(x_adv[fooled], modality), samples.x[fooled])
    share = float((predict(engine, rounded) != samples.y[fooled]).mean())
    return at_least("survives_rounding", share, SURVIVAL_LIMIT, why, required=False)


def round_to_grid(x: NDArray[np.float32], modality: Modality) -> NDArray[np.float32]:
    """Nearest of the 2 ** bit_depth values the sensor can deliver."""
    low, width = modality.input.bounds[0], modality.input.width
    levels = 2**modality.bit_depth - 1
    rounded: NDArray[np.float32] = (np.rint((x - low) / width * levels) / levels * width + low).astype(np.float32)
    return rounded
