"""Every registered check, passed; those that follow from the document agree with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from advcal_edge.stats import tango, wilson
from advcal_edge.verify.check import Check, Measurement
from advcal_edge.verify.checks import registered

LEADS: Mapping[str, str] = {
    "more_steps_not_stronger": "20 steps over 10",
    "one_step_not_stronger": "one step over 10",
    "noise_harmless": "noise (8 draws break 0) over the gradient (breaks 9)",
    "losses_agree": "PGD with `margin` over PGD with `ce`",
    "targets_agree": "targeted over untargeted attacks",
}
MEASURED: Mapping[str, Measurement] = {
    "unit_norm": Measurement(2.1e-7, "largest deviation of |z| from one; NaN fails"),
    "repeatable": Measurement(0.0, "largest change of z between two runs of one batch, another in between"),
    "batch_independent": Measurement(0.0031, "largest change of z between batch sizes and orders"),
    "eps_zero": Measurement(0.0, "share of labels that an attack of eps 0 changes"),
    "huge_eps": Measurement(0.0, "share of samples that withstand eps 1"),
    "gradients_alive": Measurement(0.0, "share of samples whose input gradient vanishes or is NaN"),
    "finite_differences": Measurement(
        0.0684, "relative error of the gradient against differences of the engine itself, upper quartile"
    ),
    "gradient_norms": Measurement(1.04, "slopes in random directions over what the gradient predicts"),
    **{
        name: Measurement(-0.08, f"95 % lower bound of the lead of {what}: +0 / -1 of 29 samples")
        for name, what in LEADS.items()
    },
    "falls_to_zero": Measurement(0.0, "95 % lower bound of a rise of robust accuracy with the radius"),
    "black_box_not_stronger": Measurement(0.002, "share broken by Square and by no white-box attack"),
    "transfer_not_stronger": Measurement(-0.012, "lead of transferred inputs over inputs crafted on the engine"),
    "independent_reference": Measurement(0.0, "the reference is another model than the engine"),
    "survives_rounding": Measurement(0.88, "share of successes left after rounding to 8 bits"),
}


def quiet_checks(comparisons: Sequence[Mapping[str, Any]], drift: Mapping[str, Any], margin: float) -> list[Check]:
    """In the order of a report; a check without a number here lies at its limit."""
    worst = next(item for item in comparisons if item["name"] == "worst case")
    ties, n = drift["near_ties"], len(drift["change"])
    gain = tango(worst["only_engine"], worst["only_reference"], worst["n"]).low
    measured = {
        **MEASURED,
        "not_more_robust": Measurement(gain, "95 % lower bound of the engine's gain in worst-case accuracy"),
        "drift_within_margin": Measurement(wilson(ties, n).low, f"95 % lower bound of near ties ({ties} of {n})"),
    }
    return [
        definition.settle(measured.get(definition.name, Measurement(definition.limit_at(margin), "sample")), margin)
        for definition in registered()
    ]
