"""More effort must find more and then no more: steps, and what noise of the same size finds (arXiv 1902.06705)."""

from __future__ import annotations

from advcal_edge.verify.check import Measurement, check, lead
from advcal_edge.verify.checks.trials import DRAWS, Trials

MORE_STEPS_LIMIT = 0.1  # bindlite, five sensors, n = 137 to 188: 1 to 4 % more for PGD-20 than for PGD-10
ONE_STEP_LIMIT = 0.05  # bindlite, five sensors, n = 32: one step never broke what ten did not
NOISE_LIMIT = 0.05  # bindlite, five sensors, n = 32: noise breaks at most 2, all of them broken by the gradient


@check(order=90, at_most=MORE_STEPS_LIMIT)
def more_steps_not_stronger(trials: Trials) -> Measurement:
    """Twice the iterations against once: what still gains was stopped before it had found what there is."""
    if trials.absent:
        return Measurement(None, trials.absent)
    return lead(trials.by("twice the steps"), trials.by("ce"), f"{2 * trials.steps} steps over {trials.steps}")


@check(order=100, at_most=ONE_STEP_LIMIT)
def one_step_not_stronger(trials: Trials) -> Measurement:
    """One step as wide as the ball against many small ones: small ones get stuck where the gradient misleads."""
    if trials.absent:
        return Measurement(None, trials.absent)
    return lead(trials.by("one step"), trials.by("ce"), f"one step over {trials.steps}")


@check(order=110, at_most=NOISE_LIMIT)
def noise_harmless(trials: Trials) -> Measurement:
    """Random noise of the same size against the gradient: who knows the engine must do more harm than who guesses."""
    if trials.absent:
        return Measurement(None, trials.absent)
    noise, gradient = trials.by("noise"), trials.by("ce")
    what = f"noise ({DRAWS} draws break {int(noise.sum())}) over the gradient (breaks {int(gradient.sum())})"
    return lead(noise, gradient, what)
