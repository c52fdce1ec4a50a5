"""Do attacks that differ only in what they maximise find the same? (Croce and Hein 2020, arXiv 2003.01690)"""

from __future__ import annotations

from advcal_edge.verify.check import Measurement, check, lead
from advcal_edge.verify.checks.trials import LOSSES, UNTARGETED, Trials

LOSSES_LIMIT = 0.05  # bindlite, five sensors, n = 137 to 188: a lead of 3 % at most; 21 % for a temperature / 1000
TARGETS_LIMIT = 0.05  # bindlite, five sensors, n = 137 to 188: a lead of 3 % at most


@check(order=120, at_most=LOSSES_LIMIT)
def losses_agree(trials: Trials) -> Measurement:
    """The best of the losses that cannot saturate against cross-entropy at the declared temperature."""
    if trials.absent:
        return Measurement(None, trials.absent)
    best = max(LOSSES[1:], key=lambda loss: int(trials.by(loss).sum()))
    return lead(trials.by(best), trials.by("ce"), f"PGD with `{best}` over PGD with `ce`")


@check(order=130, at_most=TARGETS_LIMIT)
def targets_agree(trials: Trials) -> Measurement:
    """Attacks toward chosen classes against attacks away from the true one, the same number of steps in all."""
    if trials.absent:
        return Measurement(None, trials.absent)
    return lead(trials.by("targeted"), trials.by(*UNTARGETED), "targeted over untargeted attacks")
