"""Does the exported backward pass belong to the engine, and is it alive?"""

from __future__ import annotations

import numpy as np

from advcal_edge.attacks import Victim
from advcal_edge.attacks.base import to_numpy
from advcal_edge.attacks.losses import margin
from advcal_edge.verify.check import Check, at_most, skipped
from advcal_edge.verify.checks.stability import embed
from advcal_edge.verify.evidence import Samples

ZERO_LIMIT = 0.01
SLOPE_LIMIT = 0.2  # measured: 0.002 for fp32 and fp16, 0.04 to 0.07 for int8, 0.32 for an input rounded to 16 levels
STEP = 0.25  # of the radius: far above float32 and int8 noise, small enough that the encoder is nearly straight


def gradients_alive(engine: Victim, samples: Samples) -> Check:
    """Share of samples whose input gradient vanishes: a dead backward pass defeats every white-box attack."""
    if engine.gradient is None:
        return skipped("gradients_alive", f"<= {ZERO_LIMIT:g}", "no gradient graph: export without `--no-gradient`")
    g = gradient_of_margin(engine, samples)[1]
    zero = np.abs(g).reshape(len(g), -1).max(axis=1) < 1e-12
    return at_most("gradients_alive", float(zero.mean()), ZERO_LIMIT, "share of samples with a zero input gradient")


def finite_differences(engine: Victim, samples: Samples) -> Check:
    """Predicted against measured change of the margin when the engine steps along its gradient's sign.

    Measured per sample as |f(x + h) - f(x - h) - 2 <g, h>| / |2 <g, h>| with |h| a quarter of the radius, which is
    the scale on which attacks act; the median over samples is held against the limit.
    """
    if engine.gradient is None:
        return skipped("finite_differences", f"<= {SLOPE_LIMIT:g}", "no gradient graph: export without `--no-gradient`")
    v, g = gradient_of_margin(engine, samples)
    step = np.sign(g).astype(np.float32) * np.float32(STEP * samples.threat.radius)
    low, high = samples.threat.bounds
    ahead, behind = np.clip(samples.x + step, low, high), np.clip(samples.x - step, low, high)
    predicted = ((ahead - behind).astype(np.float64) * g).reshape(len(g), -1).sum(axis=1)
    measured = ((embed(engine, ahead) - embed(engine, behind)).astype(np.float64) * v).sum(axis=1)
    error = np.abs(measured - predicted) / np.maximum(np.abs(predicted), 1e-12)
    return at_most(
        "finite_differences",
        float(np.median(error)),
        SLOPE_LIMIT,
        "median relative error of the gradient against differences of the engine itself",
    )


def gradient_of_margin(engine: Victim, samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """v = d margin / dz (n, d) at the engine's embedding, and J^T v (n, ...)."""
    z, pullback = engine.white_box().vjp(engine.place(samples.x))
    v = margin(z, engine.place(samples.y), z, engine.centers)[1]
    return to_numpy(v).astype(np.float64), to_numpy(pullback(v)).astype(np.float64)
