"""Does the exported backward pass belong to the engine, and is it alive?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import AttackedModel
from advcal_edge.attacks.base import to_numpy
from advcal_edge.attacks.losses import Loss, cross_entropy, margin
from advcal_edge.report.checks import RULES, Check, judge_value, skip
from advcal_edge.threat import ThreatModel
from advcal_edge.verify.check import NO_GRADIENT, check
from advcal_edge.verify.model_set import embed
from advcal_edge.verify.samples import Samples

SHORTER = (1, 1 / 4, 1 / 16)  # bindlite imu, n = 32: 0.64, 0.18 and 0.02 for fp32
STEP = 1 / 255  # of the bounds' width: far above int8 noise, and small enough that the encoder is nearly straight


@check()
def gradients_alive(engine: AttackedModel, samples: Samples) -> Check:
    """Share of samples whose input gradient vanishes: a dead backward pass defeats every white-box attack."""
    if engine.gradient is None:
        return skip("gradients_alive", NO_GRADIENT)
    dead = []
    for loss in (cross_entropy, margin):  # a saturated softmax kills the one and spares the other
        _, g = gradient_of(loss, engine, samples)
        dead.append(~(np.abs(g).reshape(len(g), -1).max(axis=1) >= 1e-12))  # NaN is dead too
    share = float(max(zero.mean() for zero in dead))
    return judge_value("gradients_alive", share, "share of samples whose input gradient vanishes or is NaN")


@check()
def finite_differences(engine: AttackedModel, samples: Samples) -> Check:
    """Predicted against measured change of the margin when the engine steps along its gradient's sign.

    Measured per sample as |f(x + h) - f(x - h) - 2 <g, h>| / |2 <g, h>| with |h| one grey level of 255, or eps where
    the attacks have less: the scale on which they act. An engine may bend within that step although its gradient is
    right, so shorter steps follow where it misses, and the best counts. Three quarters of the samples must stay within
    the limit: a gradient that is wrong for some is wrong.
    """
    if engine.gradient is None:
        return skip("finite_differences", NO_GRADIENT)
    v, g = gradient_of(margin, engine, samples)
    best = np.inf
    for share in SHORTER:
        error = float(np.quantile(slope_error(engine, samples, v, g, step_of(samples.threat) * share), 0.75))
        best = error if not error >= best else best  # NaN, which nothing exceeds, is taken over
        if not best > RULES["finite_differences"].limit:
            break
    return judge_value(
        "finite_differences",
        best,
        "relative error of the gradient against differences of the engine itself, upper quartile",
    )


def slope_error(
    engine: AttackedModel, samples: Samples, v: NDArray[np.float64], g: NDArray[np.float64], step: float
) -> NDArray[np.float64]:
    """Relative error (n,) of <g, h> for h the gradient's sign times `step`; 1 where nothing is predicted."""
    low, high = samples.threat.bounds
    h = np.sign(g).astype(np.float32) * np.float32(step)
    ahead, behind = np.clip(samples.x + h, low, high), np.clip(samples.x - h, low, high)
    predicted = ((ahead - behind).astype(np.float64) * g).reshape(len(g), -1).sum(axis=1)
    measured = ((embed(engine, ahead) - embed(engine, behind)).astype(np.float64) * v).sum(axis=1)
    told = np.abs(predicted) > 1e-12  # a gradient that predicts nothing misses everything
    return np.where(told, np.abs(measured - predicted) / np.where(told, np.abs(predicted), 1.0), 1.0)


def step_of(threat: ThreatModel) -> float:
    """One grey level of 255, or eps where the attacks have less, in the units of the input."""
    share = min(STEP, threat.eps) if threat.norm == "linf" else STEP
    return share * (threat.bounds[1] - threat.bounds[0])


def gradient_of(loss: Loss, engine: AttackedModel, samples: Samples) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """v = dL/dz (n, d) at the engine's embedding, and J^T v (n, ...)."""
    z, pullback = engine.white_box().vjp(engine.place(samples.x))
    v = loss(z, engine.place(samples.y), z, engine.centers)[1]
    return to_numpy(v).astype(np.float64), to_numpy(pullback(v)).astype(np.float64)
