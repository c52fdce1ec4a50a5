"""The two ends of the eps axis, where the right answer is known (Carlini et al. 2019, arXiv 1902.06705)."""

from __future__ import annotations

import numpy as np

from advcal_edge.attacks import PGD, AttackedModel, run_attack
from advcal_edge.report.checks import Check, judge_value, skip
from advcal_edge.verify.check import NO_GRADIENT, check
from advcal_edge.verify.model_set import predict
from advcal_edge.verify.samples import Samples


@check()
def eps_zero(engine: AttackedModel, samples: Samples) -> Check:
    """With no room to move, an attack must leave the clean labels as they are; one that does not has left its ball."""
    why = "share of labels that an attack of eps 0 changes"
    if engine.gradient is None:
        return skip("eps_zero", NO_GRADIENT)
    still = samples.threat.with_eps(0.0)
    outcome = run_attack(PGD(steps=1), engine, samples.x, samples.y, still, route="check", seed=samples.seed)
    right = predict(engine, samples.x) == samples.y
    return judge_value("eps_zero", float((outcome.success == right).mean()), why)


@check()
def huge_eps(engine: AttackedModel, samples: Samples) -> Check:
    """With room for anything, nothing may withstand; what does reveals an attack that does not reach the engine."""
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
