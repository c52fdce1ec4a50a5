"""More effort must find more and then no more: steps, and what noise of the same size finds (arXiv 1902.06705)."""

from __future__ import annotations

from advcal_edge.verify.check import Check, not_ahead, skipped
from advcal_edge.verify.checks.trials import DRAWS, Trials

MORE_STEPS_LIMIT = 0.1  # bindlite, five sensors, n = 137 to 188: 1 to 4 % more for PGD-20 than for PGD-10
ONE_STEP_LIMIT = 0.05  # bindlite, five sensors, n = 32: one step never broke what ten did not
NOISE_LIMIT = 0.05  # bindlite, five sensors, n = 32: noise breaks at most 2, all of them broken by the gradient


def more_steps_not_stronger(trials: Trials) -> Check:
    """Twice the iterations against once: what still gains was stopped before it had found what there is."""
    name, limit = "more_steps_not_stronger", MORE_STEPS_LIMIT
    if trials.absent:
        return skipped(name, f"<= {limit:g}", trials.absent)
    return not_ahead(
        name, trials.by("twice the steps"), trials.by("ce"), limit, f"{2 * trials.steps} steps over {trials.steps}"
    )


def one_step_not_stronger(trials: Trials) -> Check:
    """One step as wide as the ball against many small ones: small ones get stuck where the gradient misleads."""
    name, limit = "one_step_not_stronger", ONE_STEP_LIMIT
    if trials.absent:
        return skipped(name, f"<= {limit:g}", trials.absent)
    return not_ahead(name, trials.by("one step"), trials.by("ce"), limit, f"one step over {trials.steps}")


def noise_harmless(trials: Trials) -> Check:
    """Random noise of the same size against the gradient: who knows the engine must do more harm than who guesses."""
    name, limit = "noise_harmless", NOISE_LIMIT
    if trials.absent:
        return skipped(name, f"<= {limit:g}", trials.absent)
    noise, gradient = trials.by("noise"), trials.by("ce")
    what = f"noise ({DRAWS} draws break {int(noise.sum())}) over the gradient (breaks {int(gradient.sum())})"
    return not_ahead(name, noise, gradient, limit, what)
