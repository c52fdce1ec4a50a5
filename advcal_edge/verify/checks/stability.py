"""Does the engine answer the same question the same way, whatever else is in the batch or came before it?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import Victim
from advcal_edge.verify.check import Check, at_most
from advcal_edge.verify.lineup import embed

REPEAT_LIMIT = 1e-6  # exact on one device; the slack is for reductions whose order a GPU may change
# length of the change of a unit vector: other batch sizes choose other kernels, and int8 may then move by one step
BATCH_LIMIT = 0.02
NORM_LIMIT = 1e-3


def repeatable(engine: Victim, x: NDArray[np.float32]) -> Check:
    """The same batch before and after another batch: catches noise and buffers that were not written."""
    half = len(x) // 2
    first, second = x[:half], x[half : 2 * half]
    before = embed(engine, first)
    embed(engine, second)
    drift = float(np.abs(before - embed(engine, first)).max())
    return at_most(
        "repeatable", drift, REPEAT_LIMIT, "largest change of z between two runs of one batch, another in between"
    )


def batch_independent(engine: Victim, x: NDArray[np.float32]) -> Check:
    """One by one, together, and together in another order: catches rows that leak into each other."""
    together = embed(engine, x)
    alone = np.concatenate([embed(engine, x[i : i + 1]) for i in range(len(x))])
    reverse = embed(engine, x[::-1].copy())[::-1]
    drift = max(np.linalg.norm(together - other, axis=1).max() for other in (alone, reverse))
    return at_most("batch_independent", float(drift), BATCH_LIMIT, "largest change of z between batch sizes and orders")


def unit_norm(engine: Victim, x: NDArray[np.float32]) -> Check:
    """Embeddings are finite and of length one: catches half-precision overflow before any average hides it."""
    error = np.abs(np.linalg.norm(embed(engine, x).astype(np.float64), axis=1) - 1)
    return at_most("unit_norm", float(error.max()), NORM_LIMIT, "largest deviation of |z| from one; NaN fails")
