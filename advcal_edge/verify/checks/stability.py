"""Does the engine answer the same question the same way, whatever else is in the batch or came before it?"""

from __future__ import annotations

import numpy as np

from advcal_edge.attacks import Victim
from advcal_edge.verify.check import Measurement, check
from advcal_edge.verify.lineup import embed
from advcal_edge.verify.samples import Samples

REPEAT_LIMIT = 1e-6  # exact on one device; the slack is for reductions whose order a GPU may change
# length of the change of a unit vector: other batch sizes choose other kernels, and int8 may then move by one step
BATCH_LIMIT = 0.02
NORM_LIMIT = 1e-3


@check(order=20, at_most=REPEAT_LIMIT)
def repeatable(engine: Victim, samples: Samples) -> Measurement:
    """The same batch before and after another batch: catches noise and buffers that were not written."""
    half = len(samples) // 2
    first, second = samples.x[:half], samples.x[half : 2 * half]
    before = embed(engine, first)
    embed(engine, second)
    drift = float(np.abs(before - embed(engine, first)).max())
    return Measurement(drift, "largest change of z between two runs of one batch, another in between")


@check(order=30, at_most=BATCH_LIMIT)
def batch_independent(engine: Victim, samples: Samples) -> Measurement:
    """One by one, together, and together in another order: catches rows that leak into each other."""
    x = samples.x
    together = embed(engine, x)
    alone = np.concatenate([embed(engine, x[i : i + 1]) for i in range(len(x))])
    reverse = embed(engine, x[::-1].copy())[::-1]
    drift = max(np.linalg.norm(together - other, axis=1).max() for other in (alone, reverse))
    return Measurement(float(drift), "largest change of z between batch sizes and orders")


@check(order=10, at_most=NORM_LIMIT)
def unit_norm(engine: Victim, samples: Samples) -> Measurement:
    """Embeddings are finite and of length one: catches half-precision overflow before any average hides it."""
    error = np.abs(np.linalg.norm(embed(engine, samples.x).astype(np.float64), axis=1) - 1)
    return Measurement(float(error.max()), "largest deviation of |z| from one; NaN fails")
