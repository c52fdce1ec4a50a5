"""A sensor delivers whole grey levels: does an adversarial input survive being rounded to them?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import Victim
from advcal_edge.spec import Modality
from advcal_edge.verify.check import Check, at_least, skipped
from advcal_edge.verify.evidence import Evidence, Samples, predict

SURVIVAL_LIMIT = 0.5


def survives_rounding(engine: Victim, modality: Modality, samples: Samples, evidence: Sequence[Evidence]) -> Check:
    """Share of successful inputs that still fool the engine on the sensor's grid; advisory: it judges the attack."""
    limit, why = f">= {SURVIVAL_LIMIT:g}", f"share of successes left after rounding to {modality.bit_depth} bits"
    x_adv, fooled = winning_inputs(samples, evidence)
    if not fooled.any():
        return skipped("survives_rounding", limit, "no attack succeeded", required=False)
    rounded = samples.threat.project(round_to_grid(x_adv[fooled], modality), samples.x[fooled])
    share = float((predict(engine, rounded) != samples.y[fooled]).mean())
    return at_least("survives_rounding", share, SURVIVAL_LIMIT, why, required=False)


def winning_inputs(samples: Samples, evidence: Sequence[Evidence]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """For each sample the first input that fools the engine, and where (n,) there is one."""
    x_adv, fooled = samples.x.copy(), np.zeros(len(samples), dtype=np.bool_)
    for item in evidence:
        new = item.fools_engine & ~fooled
        x_adv[new] = item.crafted.x_adv[new]
        fooled |= new
    return x_adv, fooled


def round_to_grid(x: NDArray[np.float32], modality: Modality) -> NDArray[np.float32]:
    """Nearest of the 2 ** bit_depth values the sensor can deliver."""
    low, width = modality.input.bounds[0], modality.input.width
    levels = 2**modality.bit_depth - 1
    rounded: NDArray[np.float32] = (np.rint((x - low) / width * levels) / levels * width + low).astype(np.float32)
    return rounded
