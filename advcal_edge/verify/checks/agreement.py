"""Do attacks that differ only in what they maximise find the same? (Croce and Hein 2020, arXiv 2003.01690)"""

from __future__ import annotations

from advcal_edge.report.checks import Check, compare_attacks, skip
from advcal_edge.verify.check import check
from advcal_edge.verify.checks.trials import LOSSES, UNTARGETED, Trials


@check()
def losses_agree(trials: Trials) -> Check:
    """The best of the losses that cannot saturate against cross-entropy at the declared temperature."""
    name = "losses_agree"
    if trials.absent:
        return skip(name, trials.absent)
    best = max(LOSSES[1:], key=lambda loss: int(trials.by(loss).sum()))
    return compare_attacks(name, trials.by(best), trials.by("ce"), f"PGD with `{best}` over PGD with `ce`")


@check()
def targets_agree(trials: Trials) -> Check:
    """Attacks toward chosen classes against attacks away from the true one, the same number of steps in all."""
    name = "targets_agree"
    if trials.absent:
        return skip(name, trials.absent)
    return compare_attacks(name, trials.by("targeted"), trials.by(*UNTARGETED), "targeted over untargeted attacks")
