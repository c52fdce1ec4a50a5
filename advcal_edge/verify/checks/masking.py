"""Signs that gradients mislead rather than that the engine withstands (Athalye et al. 2018, arXiv 1802.00420)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from advcal_edge.stats import tango
from advcal_edge.verify.check import Check, at_most, skipped
from advcal_edge.verify.evidence import Evidence

BLACK_BOX_LIMIT = 0.01
TRANSFER_LIMIT = 0.05


def black_box_not_stronger(evidence: Sequence[Evidence]) -> Check:
    """Share of samples that only the black box breaks; it sees less, so it must find less."""
    if not any(e.crafted.route == "gradient" for e in evidence):
        return skipped("black_box_not_stronger", f"<= {BLACK_BOX_LIMIT:g}", "no gradient route to compare with")
    white, black = fooled(evidence, "gradient", "transfer"), fooled(evidence, "black box")
    share = float((black & ~white).mean())
    return at_most(
        "black_box_not_stronger", share, BLACK_BOX_LIMIT, "share broken by Square and by no white-box attack"
    )


def transfer_not_stronger(evidence: Sequence[Evidence]) -> Check:
    """The first attack crafted on the reference against the same crafted on the engine, both judged by the engine."""
    own = [e for e in evidence if e.crafted.route == "gradient"]
    if not own:
        return skipped("transfer_not_stronger", f"<= {TRANSFER_LIMIT:g}", "no gradient route to compare with")
    transfer = next(e for e in evidence if e.crafted.route == "transfer")
    # right on either side, so that clean errors count nowhere
    both = transfer.crafted.attacked & own[0].crafted.attacked
    if not both.any():
        return skipped("transfer_not_stronger", f"<= {TRANSFER_LIMIT:g}", "no sample is right on both sides")
    lead = float(transfer.fools_engine[both].mean() - own[0].fools_engine[both].mean())
    why = "lead of transferred inputs over inputs crafted on the engine"
    return at_most("transfer_not_stronger", lead, TRANSFER_LIMIT, why)


def not_more_robust(reference: NDArray[np.bool_], engine: NDArray[np.bool_], margin: float) -> Check:
    """Lower bound of the engine's gain over its source: export makes no encoder robust, only its gradients worse."""
    only_engine, only_reference = int((engine & ~reference).sum()), int((reference & ~engine).sum())
    bound = tango(only_engine, only_reference, len(engine)).low
    why = "95 % lower bound of the engine's gain in worst-case accuracy: suspected gradient masking"
    return at_most("not_more_robust", bound, margin / 2, why)


def fooled(evidence: Sequence[Evidence], *routes: str) -> NDArray[np.bool_]:
    """Where the engine is fooled by any attack of these routes."""
    flags = [e.fools_engine for e in evidence if e.crafted.route in routes]
    union: NDArray[np.bool_] = np.logical_or.reduce(flags)
    return union
