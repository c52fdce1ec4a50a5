"""Checks of the outputs: repeatable, independent of the batch, of unit norm; accuracy right at the ends of eps."""

from __future__ import annotations

import numpy as np

from advcal_edge.attacks import PGD, AttackedModel, run_attack
from advcal_edge.report.checks import NO_GRADIENT, Check, judge_value, skip
from advcal_edge.verify.check import check
from advcal_edge.verify.model_set import embed, predict
from advcal_edge.verify.samples import Samples


@check()
def repeatable(engine: AttackedModel, samples: Samples) -> Check:
    """Run the same batch before and after another batch: catches noise and buffers that were not written."""
    x = samples.x
    half = len(x) // 2
    first, second = x[:half], x[half : 2 * half]
    before = embed(engine, first)
    embed(engine, second)
    again = embed(engine, first)
    same = np.isnan(before) & np.isnan(again)  # `unit_norm` and `runs` find what is NaN both times
    drift = float(np.where(same, 0, np.abs(before - again)).max())
    return judge_value("repeatable", drift, "largest change of z between two runs of one batch, another in between")


@check()
def batch_independent(engine: AttackedModel, samples: Samples) -> Check:
    """Run samples one by one, together, and in another order: catches rows that leak into each other."""
    x = samples.x
    together = embed(engine, x)
    alone = np.concatenate([embed(engine, x[i : i + 1]) for i in range(len(x))])
    reverse = embed(engine, x[::-1].copy())[::-1]
    drift = max(np.linalg.norm(together - other, axis=1).max() for other in (alone, reverse))
    return judge_value("batch_independent", float(drift), "largest change of z between batch sizes and orders")


@check()
def unit_norm(engine: AttackedModel, samples: Samples) -> Check:
    """Embeddings are finite and of length one: catches half-precision overflow before an average hides it."""
    error = np.abs(np.linalg.norm(embed(engine, samples.x).astype(np.float64), axis=1) - 1)
    return judge_value("unit_norm", float(error.max()), "largest deviation of |z| from one; NaN fails")


@check()
def eps_zero(engine: AttackedModel, samples: Samples) -> Check:
    """At eps 0 an attack must keep the clean labels; an attack that changes them has left its ball."""
    why = "share of labels that an attack of eps 0 changes"
    if engine.gradient is None:
        return skip("eps_zero", NO_GRADIENT)
    still = samples.threat.with_eps(0.0)
    outcome = run_attack(PGD(steps=1), engine, samples.x, samples.y, still, route="check", seed=samples.seed)
    right = predict(engine, samples.x) == samples.y
    return judge_value("eps_zero", float((outcome.success == right).mean()), why)


@check()
def huge_eps(engine: AttackedModel, samples: Samples) -> Check:
    """At the largest eps no sample may withstand; one that does reveals an attack that does not reach the engine."""
    eps = samples.threat.farthest(samples.x.shape[1:])  # any sample can become any other, also one of another class
    why = f"share of samples that withstand eps {eps:.4g}"
    if engine.gradient is None:
        return skip("huge_eps", NO_GRADIENT)
    ball = samples.threat.with_eps(eps)
    standing = np.ones(len(samples), dtype=np.bool_)
    for loss in ("ce", "margin"):
        if standing.any():
            attack = PGD(steps=20, step=0.1, loss=loss)
            rows = np.flatnonzero(standing)
            outcome = run_attack(
                attack, engine, samples.x[rows], samples.y[rows], ball, route="check", seed=samples.seed
            )
            standing[rows] = ~outcome.success
    return judge_value("huge_eps", float(standing.mean()), why)
