"""Checks that compare measurements: attacks with other attacks, embeddings of two models, adversarial inputs on a grid.

Attacks that differ only in the loss they maximise should be about as strong (Croce and Hein 2020, arXiv 2003.01690).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from advcal_edge.centers import Centers
from advcal_edge.report.checks import Check, compare_attacks, skip
from advcal_edge.report.results import Drift
from advcal_edge.spec import Modality
from advcal_edge.verify.check import check
from advcal_edge.verify.checks.trials import DRAWS, LOSSES, UNTARGETED, Trials


@check()
def losses_agree(trials: Trials) -> Check:
    """Compare the best of the losses that cannot saturate with cross-entropy at the declared temperature."""
    name = "losses_agree"
    if trials.absent:
        return skip(name, trials.absent)
    best = max(LOSSES[1:], key=lambda loss: int(trials.by(loss).sum()))
    return compare_attacks(name, trials.by(best), trials.by("ce"), f"PGD with `{best}` over PGD with `ce`")


@check()
def targets_agree(trials: Trials) -> Check:
    """Compare attacks toward chosen classes with attacks away from the true class, at the same total of steps."""
    name = "targets_agree"
    if trials.absent:
        return skip(name, trials.absent)
    return compare_attacks(name, trials.by("targeted"), trials.by(*UNTARGETED), "targeted over untargeted attacks")


def measure_drift(z_reference: NDArray[np.float32], z_engine: NDArray[np.float32], centers: Centers) -> Drift:
    """Drift between embeddings (n, d) of the same inputs, scores in units of cosine.

    An engine's embedding that is not finite counts as the opposite of the reference's, the farthest possible.
    """
    a, b = z_reference.astype(np.float64), z_engine.astype(np.float64)
    b = np.where(np.isfinite(b).all(axis=1, keepdims=True), b, -a)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = (a * b).sum(axis=1) / np.maximum(norms, 1e-12)
    scores = centers.scores(a) * centers.temperature
    change = np.abs(centers.scores(b) * centers.temperature - scores).max(axis=1)
    top = np.sort(scores, axis=1)
    return Drift(cosine, change, top[:, -1] - top[:, -2])


@check()
def more_steps_not_stronger(trials: Trials) -> Check:
    """Compare twice the iterations with once: an attack that still gains was stopped too early."""
    name = "more_steps_not_stronger"
    if trials.absent:
        return skip(name, trials.absent)
    return compare_attacks(
        name, trials.by("twice the steps"), trials.by("ce"), f"{2 * trials.steps} steps over {trials.steps}"
    )


@check()
def one_step_not_stronger(trials: Trials) -> Check:
    """Compare one step as wide as the ball with many small ones: small steps get stuck if the gradient misleads."""
    name = "one_step_not_stronger"
    if trials.absent:
        return skip(name, trials.absent)
    return compare_attacks(name, trials.by("one step"), trials.by("ce"), f"one step over {trials.steps}")


@check()
def noise_harmless(trials: Trials) -> Check:
    """Compare random noise of the same size with the gradient: a gradient attack must do more harm than noise."""
    name = "noise_harmless"
    if trials.absent:
        return skip(name, trials.absent)
    noise, gradient = trials.by("noise"), trials.by("ce")
    what = f"noise ({DRAWS} draws break {int(noise.sum())}) over the gradient (breaks {int(gradient.sum())})"
    return compare_attacks(name, noise, gradient, what)


def round_to_grid(x: NDArray[np.float32], modality: Modality) -> NDArray[np.float32]:
    """Nearest of the 2 ** bit_depth values the sensor can deliver."""
    low, width = modality.input.bounds[0], modality.input.width
    levels = 2**modality.bit_depth - 1
    rounded: NDArray[np.float32] = (np.rint((x - low) / width * levels) / levels * width + low).astype(np.float32)
    return rounded
