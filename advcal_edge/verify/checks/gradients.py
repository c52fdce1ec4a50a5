"""Checks of the exported backward pass: does it belong to the engine, is it alive, and is its scale right?

Each looks at clean samples and at inputs a few steps into an attack, since a gradient may be right on clean samples
alone. The worse of the two counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import PGD, AttackedModel, run_attack
from advcal_edge.attacks.base import to_numpy
from advcal_edge.attacks.losses import Loss, cross_entropy, margin
from advcal_edge.report.checks import NO_GRADIENT, RULES, Check, judge_value, skip
from advcal_edge.threat import ThreatModel
from advcal_edge.verify.check import check
from advcal_edge.verify.model_set import embed
from advcal_edge.verify.samples import Samples

SHORTER = (1, 1 / 4, 1 / 16)  # bindlite imu, n = 32: 0.64, 0.18 and 0.02 for fp32
STEP = 1 / 255  # of the bounds' width: far above int8 noise, and small enough that the encoder is nearly straight
FEW = PGD(steps=3, loss="margin", select="last")
"""Leads to where attacks are most of the time: off the clean samples, inside the ball."""


def points(engine: AttackedModel, samples: Samples) -> Iterator[tuple[str, Samples]]:
    """The samples as they are, then a few steps into an attack on the engine."""
    yield "clean", samples
    x, y, threat = samples.x, samples.y, samples.threat
    crafted = run_attack(FEW, engine, x, y, threat, route="check", seed=samples.seed)
    yield "attacked", replace(samples, x=crafted.x_adv)


@check()
def gradients_alive(engine: AttackedModel, samples: Samples) -> Check:
    """Share of samples whose input gradient vanishes: a dead backward pass defeats every white-box attack."""
    if engine.gradient is None:
        return skip("gradients_alive", NO_GRADIENT)
    share, at = 0.0, "clean"
    for name, some in points(engine, samples):
        for loss in (cross_entropy, margin):  # a saturated softmax zeroes the gradient of the first alone
            _, g = gradient_of(loss, engine, some)
            dead = ~(np.abs(g).reshape(len(g), -1).max(axis=1) >= 1e-12)  # NaN is dead too
            share, at = max((share, at), (float(dead.mean()), name))
    return judge_value("gradients_alive", share, f"share of samples whose input gradient vanishes or is NaN, {at}")


@check()
def finite_differences(engine: AttackedModel, samples: Samples) -> Check:
    """Predicted against measured change of the margin when the engine steps along its gradient's sign.

    Measured per sample as |f(x + h) - f(x - h) - 2 <g, h>| / |2 <g, h>| with |h| one grey level of 255, or eps if the
    attacks have less: the scale of the attacks. An engine may be curved within that step although its gradient is
    right, so shorter steps follow if the first one misses, and the best counts. Three quarters of the samples must
    stay within the limit: a gradient that is wrong for some samples is wrong.
    """
    if engine.gradient is None:
        return skip("finite_differences", NO_GRADIENT)
    worst, at = worse({name: least_error(engine, some) for name, some in points(engine, samples)})
    return judge_value(
        "finite_differences",
        worst,
        f"relative error of the gradient against differences of the engine itself, upper quartile, {at}",
    )


def worse(measured: Mapping[str, float]) -> tuple[float, str]:
    """The larger of two measurements and where it was taken; NaN is larger than any number."""
    at = max(measured, key=lambda name: (np.isnan(measured[name]), measured[name]))
    return measured[at], at


def least_error(engine: AttackedModel, samples: Samples) -> float:
    """The upper quartile of `slope_error` at the first step that meets the limit, else at the best."""
    v, g = gradient_of(margin, engine, samples)
    best = np.inf
    for share in SHORTER:
        error = float(np.quantile(slope_error(engine, samples, v, g, step_of(samples.threat) * share), 0.75))
        best = error if not error >= best else best  # NaN, which compares false, replaces it
        if not best > RULES["finite_differences"].limit:
            break
    return best


def slope_error(
    engine: AttackedModel, samples: Samples, v: NDArray[np.float64], g: NDArray[np.float64], step: float
) -> NDArray[np.float64]:
    """Relative error (n,) of <g, h> for h the gradient's sign times `step`; 1 where the predicted change is zero."""
    low, high = samples.threat.bounds
    h = np.sign(g).astype(np.float32) * np.float32(step)
    ahead, behind = np.clip(samples.x + h, low, high), np.clip(samples.x - h, low, high)
    predicted = ((ahead - behind).astype(np.float64) * g).reshape(len(g), -1).sum(axis=1)
    measured = ((embed(engine, ahead) - embed(engine, behind)).astype(np.float64) * v).sum(axis=1)
    nonzero = np.abs(predicted) > 1e-12  # where the predicted change is zero, the error is 1
    return np.where(nonzero, np.abs(measured - predicted) / np.where(nonzero, np.abs(predicted), 1.0), 1.0)


def step_of(threat: ThreatModel) -> float:
    """One grey level of 255, or eps if the attacks have less, in the units of the input."""
    share = min(STEP, threat.eps) if threat.norm == "linf" else STEP
    return share * (threat.bounds[1] - threat.bounds[0])


def gradient_of(loss: Loss, engine: AttackedModel, samples: Samples) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """v = dL/dz (n, d) at the engine's embedding, and J^T v (n, ...)."""
    z, pullback = engine.white_box().vjp(engine.place(samples.x))
    v = loss(z, engine.place(samples.y), z, engine.centers)[1]
    return to_numpy(v).astype(np.float64), to_numpy(pullback(v)).astype(np.float64)


DIRECTIONS = 8
ROOM = {"attacked": 1.25}  # bindlite, five sensors, n = 32: up to 1.34 for int8 there, and 1.24 when clean
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
    """Compare the length of the gradient with the slopes of the engine in random directions.

    For random signs u the mean of ((f(x + hu) - f(x - hu)) / 2h)^2 estimates |grad f|^2, and so does the mean of
    <g, u>^2 for the gradient g of the backward graph. Over the same directions their ratio is one if g is right,
    whatever the directions are, and too large if g misses a part, such as a channel or a branch; steps along g itself
    cannot show that. f is the margin's linearisation <v, z>. Values so close to a bound that they could move one way
    only are not moved. Both quartiles of the samples must lie within the limit's factor of one, on one of the scales;
    the first scale that suffices counts.
    """
    if engine.gradient is None:
        return skip("gradient_norms", NO_GRADIENT)
    found = {name: best_ratio(engine, some) for name, some in points(engine, samples)}
    factor, at = worse({name: factor / ROOM.get(name, 1.0) for name, (factor, _) in found.items()})
    why = f"slopes in {DIRECTIONS} random directions over what the gradient predicts, the farther quartile"
    return judge_value("gradient_norms", factor, f"{why} ({at}: {found[at][1]}, over {ROOM.get(at, 1.0):g})")


def best_ratio(engine: AttackedModel, samples: Samples) -> tuple[float, str]:
    """How far the farther quartile of the ratios lies from one, as a factor, on the best scale, and the quartiles."""
    v, g = gradient_of(margin, engine, samples)
    best, shown = np.inf, ""
    for scale in SCALES:
        step = step_of(samples.threat) * scale
        ratio = slopes_over_gradient(engine, samples, v, g, step)
        low, middle, high = (float(q) for q in np.quantile(ratio, (0.25, 0.5, 0.75)))
        factor = max(high, 1 / low if low > 0 else np.inf)
        if not factor >= best:  # NaN, which compares false, replaces it
            best, shown = factor, f"{low:.2f}, {middle:.2f}, {high:.2f} at steps of {step:.3g}"
        if not best > RULES["gradient_norms"].limit:
            break
    return best, shown


def slopes_over_gradient(
    engine: AttackedModel, samples: Samples, v: NDArray[np.float64], g: NDArray[np.float64], step: float
) -> NDArray[np.float64]:
    """Per sample (n,) the root mean square of measured over that of predicted slopes; 1 where both are zero."""
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
