"""Do attacks that differ only in what they maximise find the same? (Croce and Hein 2020, arXiv 2003.01690)"""

from __future__ import annotations

from advcal_edge.verify.check import Check, not_ahead, skipped
from advcal_edge.verify.checks.trials import LOSSES, UNTARGETED, Trials

LOSSES_LIMIT = 0.05  # bindlite, five sensors, n = 137 to 188: a lead of 3 % at most; 21 % for a temperature / 1000
TARGETS_LIMIT = 0.05  # bindlite, five sensors, n = 137 to 188: a lead of 3 % at most


def losses_agree(trials: Trials) -> Check:
    """The best of the losses that cannot saturate against cross-entropy at the declared temperature."""
    name, limit = "losses_agree", LOSSES_LIMIT
    if trials.absent:
        return skipped(name, f"<= {limit:g}", trials.absent)
    best = max(LOSSES[1:], key=lambda loss: int(trials.by(loss).sum()))
    return not_ahead(name, trials.by(best), trials.by("ce"), limit, f"PGD with `{best}` over PGD with `ce`")


def targets_agree(trials: Trials) -> Check:
    """Attacks toward chosen classes against attacks away from the true one, the same number of steps in all."""
    name, limit = "targets_agree", TARGETS_LIMIT
    if trials.absent:
        return skipped(name, f"<= {limit:g}", trials.absent)
    return not_ahead(name, trials.by("targeted"), trials.by(*UNTARGETED), limit, "targeted over untargeted attacks")
