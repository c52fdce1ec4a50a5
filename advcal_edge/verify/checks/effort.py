"""More effort must find more and then no more: steps, and what noise of the same size finds (arXiv 1902.06705)."""

from __future__ import annotations

from advcal_edge.report.checks import Check, compare_attacks, skip
from advcal_edge.verify.check import check
from advcal_edge.verify.checks.trials import DRAWS, Trials


@check()
def more_steps_not_stronger(trials: Trials) -> Check:
    """Twice the iterations against once: what still gains was stopped before it had found what there is."""
    name = "more_steps_not_stronger"
    if trials.absent:
        return skip(name, trials.absent)
    return compare_attacks(
        name, trials.by("twice the steps"), trials.by("ce"), f"{2 * trials.steps} steps over {trials.steps}"
    )


@check()
def one_step_not_stronger(trials: Trials) -> Check:
    """One step as wide as the ball against many small ones: small ones get stuck where the gradient misleads."""
    name = "one_step_not_stronger"
    if trials.absent:
        return skip(name, trials.absent)
    return compare_attacks(name, trials.by("one step"), trials.by("ce"), f"one step over {trials.steps}")


@check()
def noise_harmless(trials: Trials) -> Check:
    """Random noise of the same size against the gradient: who knows the engine must do more harm than who guesses."""
    name = "noise_harmless"
    if trials.absent:
        return skip(name, trials.absent)
    noise, gradient = trials.by("noise"), trials.by("ce")
    what = f"noise ({DRAWS} draws break {int(noise.sum())}) over the gradient (breaks {int(gradient.sum())})"
    return compare_attacks(name, noise, gradient, what)
