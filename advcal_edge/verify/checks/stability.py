"""Does the engine answer the same question the same way, whatever else is in the batch or came before it?"""

from __future__ import annotations

import numpy as np

from advcal_edge.attacks import AttackedModel
from advcal_edge.report.checks import Check, judge_value
from advcal_edge.verify.check import check
from advcal_edge.verify.model_set import embed
from advcal_edge.verify.samples import Samples


@check()
def repeatable(engine: AttackedModel, samples: Samples) -> Check:
    """The same batch before and after another batch: catches noise and buffers that were not written."""
    x = samples.x
    half = len(x) // 2
    first, second = x[:half], x[half : 2 * half]
    before = embed(engine, first)
    embed(engine, second)
    drift = float(np.abs(before - embed(engine, first)).max())
    return judge_value("repeatable", drift, "largest change of z between two runs of one batch, another in between")


@check()
def batch_independent(engine: AttackedModel, samples: Samples) -> Check:
    """One by one, together, and together in another order: catches rows that leak into each other."""
    x = samples.x
    together = embed(engine, x)
    alone = np.concatenate([embed(engine, x[i : i + 1]) for i in range(len(x))])
    reverse = embed(engine, x[::-1].copy())[::-1]
    drift = max(np.linalg.norm(together - other, axis=1).max() for other in (alone, reverse))
    return judge_value("batch_independent", float(drift), "largest change of z between batch sizes and orders")


@check()
def unit_norm(engine: AttackedModel, samples: Samples) -> Check:
    """Embeddings are finite and of length one: catches half-precision overflow before any average hides it."""
    error = np.abs(np.linalg.norm(embed(engine, samples.x).astype(np.float64), axis=1) - 1)
    return judge_value("unit_norm", float(error.max()), "largest deviation of |z| from one; NaN fails")
