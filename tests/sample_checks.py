"""Every check of `verify`, each passed; those that are counted from the document agree with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from advcal_edge.stats import tango, wilson
from advcal_edge.verify.check import Check, at_least, at_most


def quiet_checks(comparisons: Sequence[Mapping[str, Any]], drift: Mapping[str, Any], margin: float) -> list[Check]:
    """In the order in which `verify` asks."""
    worst = next(item for item in comparisons if item["name"] == "worst case")
    ties, n = drift["near_ties"], len(drift["change"])
    gain = tango(worst["only_engine"], worst["only_reference"], worst["n"]).low
    return [
        at_most("unit_norm", 2.1e-7, 1e-3, "largest deviation of |z| from one; NaN fails"),
        at_most("repeatable", 0.0, 1e-6, "largest change of z between two runs of one batch, another in between"),
        at_most("batch_independent", 0.0031, 0.02, "largest change of z between batch sizes and orders"),
        at_most("eps_zero", 0.0, 0.0, "share of labels that an attack of eps 0 changes"),
        at_most("huge_eps", 0.0, 0.0, "share of samples that withstand eps 1"),
        at_most("gradients_alive", 0.0, 0.01, "share of samples whose input gradient vanishes or is NaN"),
        at_most(
            "finite_differences",
            0.0684,
            0.3,
            "relative error of the gradient against differences of the engine itself, upper quartile",
        ),
        at_most("gradient_norms", 1.04, 1.35, "slopes in random directions over what the gradient predicts"),
        *(
            at_most(name, -0.08, limit, f"95 % lower bound of the lead of {what}: +0 / -1 of 29 samples")
            for name, limit, what in (
                ("more_steps_not_stronger", 0.1, "20 steps over 10"),
                ("one_step_not_stronger", 0.05, "one step over 10"),
                ("noise_harmless", 0.05, "noise (8 draws break 0) over the gradient (breaks 9)"),
                ("losses_agree", 0.05, "PGD with `margin` over PGD with `ce`"),
                ("targets_agree", 0.05, "targeted over untargeted attacks"),
            )
        ),
        at_most("falls_to_zero", 0.0, 0.02, "95 % lower bound of a rise of robust accuracy with the radius"),
        at_most("black_box_not_stronger", 0.002, 0.01, "share broken by Square and by no white-box attack"),
        at_most("transfer_not_stronger", -0.012, 0.05, "lead of transferred inputs over inputs crafted on the engine"),
        at_most("not_more_robust", gain, margin / 2, "95 % lower bound of the engine's gain in worst-case accuracy"),
        at_most("drift_within_margin", wilson(ties, n).low, 0.05, f"95 % lower bound of near ties ({ties} of {n})"),
        at_most("independent_reference", 0.0, 0.0, "the reference is another model than the engine", required=False),
        at_least("survives_rounding", 0.88, 0.5, "share of successes left after rounding to 8 bits", required=False),
    ]
