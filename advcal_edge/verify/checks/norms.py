"""Is the gradient as long as the engine is steep, in directions that the gradient did not choose?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import AttackedModel
from advcal_edge.attacks.losses import margin
from advcal_edge.report.checks import RULES, Check, judge_value, skip
from advcal_edge.verify.check import NO_GRADIENT, check
from advcal_edge.verify.checks.gradients import gradient_of, step_of
from advcal_edge.verify.model_set import embed
from advcal_edge.verify.samples import Samples

DIRECTIONS = 8
SCALES = (
    1,
    8,
    16,
    4,
    0.5,
    32,
)  # of the step: int8 rounds away what small random steps change, and large ones meet curvature


@check()
def gradient_norms(engine: AttackedModel, samples: Samples) -> Check:
    """Length of the gradient against the slopes that the engine shows in random directions.

    For random signs u the mean of ((f(x + hu) - f(x - hu)) / 2h)^2 estimates |grad f|^2, and so does the mean of
    <g, u>^2 for the gradient g of the backward graph. Over the same directions their ratio is one if g is right,
    whatever the directions are, and too large if g lacks something, a channel or a branch, which its own direction can
    never show. f is the margin's linearisation <v, z>. Values so near a bound that they could move one way only stay
    where they are. Both quartiles of the samples must lie within the factor of its limit of one, on one of the scales;
    the first that suffices counts.
    """
    if engine.gradient is None:
        return skip("gradient_norms", NO_GRADIENT)
    v, g = gradient_of(margin, engine, samples)
    best, shown = np.inf, ""
    for scale in SCALES:
        step = step_of(samples.threat) * scale
        ratio = slopes_over_gradient(engine, samples, v, g, step)
        low, middle, high = (float(q) for q in np.quantile(ratio, (0.25, 0.5, 0.75)))
        factor = max(high, 1 / low if low > 0 else np.inf)
        if not factor >= best:  # NaN, which nothing exceeds, is taken over
            best, shown = factor, f"{low:.2f}, {middle:.2f}, {high:.2f} at steps of {step:.3g}"
        if not best > RULES["gradient_norms"].limit:
            break
    why = f"slopes in {DIRECTIONS} random directions over what the gradient predicts, the farther quartile ({shown})"
    return judge_value("gradient_norms", best, why)


def slopes_over_gradient(
    engine: AttackedModel, samples: Samples, v: NDArray[np.float64], g: NDArray[np.float64], step: float
) -> NDArray[np.float64]:
    """Per sample (n,) the root mean square of measured over that of predicted slopes; 1 where both are nothing."""
    (low, high), x, n = samples.threat.bounds, samples.x, len(samples)
    rng = np.random.default_rng(samples.seed)
    free = (x - step >= low) & (x + step <= high)
    measured, predicted = np.zeros(n), np.zeros(n)
    for _ in range(DIRECTIONS):
        u = np.where(free, rng.choice(np.array([-1, 1], np.float32), size=x.shape), 0) * np.float32(step)
        ahead, behind = x + u, x - u
        measured += ((embed(engine, ahead) - embed(engine, behind)).astype(np.float64) * v).sum(axis=1) ** 2
        predicted += ((ahead - behind).astype(np.float64) * g).reshape(n, -1).sum(axis=1) ** 2
    floor = 1e-24
    return np.sqrt((measured + floor) / (predicted + floor))
