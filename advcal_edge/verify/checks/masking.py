"""Signs that gradients mislead rather than that the engine withstands (Athalye et al. 2018, arXiv 1802.00420)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.stats import tango, wilson
from advcal_edge.verify.check import Measurement, check
from advcal_edge.verify.comparison import Comparison
from advcal_edge.verify.evidence import Evidence

BLACK_BOX_LIMIT = 0.01
TRANSFER_LIMIT = 0.05
NO_ROUTE = "no gradient route to compare with"


@check(order=10, at_most=BLACK_BOX_LIMIT)
def black_box_not_stronger(evidence: Sequence[Evidence]) -> Measurement:
    """Share of samples that only the black box breaks; it sees less, so it must find less.

    The lower bound of the share's interval is held against the limit: a few samples are no evidence of masking.
    """
    if not any(e.route == "gradient" for e in evidence):
        return Measurement(None, NO_ROUTE)
    own = [e for e in evidence if e.crafted_on == "engine"]
    white, black = fooled(evidence, "gradient", "transfer", "difference"), fooled(own, "black box", "label only")
    alone = black & ~white
    bound = wilson(int(alone.sum()), len(alone)).low
    why = f"95 % lower bound of the share that only scores or labels broke ({int(alone.sum())} of {len(alone)})"
    return Measurement(bound, why)


@check(order=20, at_most=TRANSFER_LIMIT)
def transfer_not_stronger(evidence: Sequence[Evidence]) -> Measurement:
    """The first attack crafted on the reference against the same crafted on the engine, both judged by the engine."""
    own = [e for e in evidence if e.route == "gradient"]
    if not own:
        return Measurement(None, NO_ROUTE)
    transfer = next(e for e in evidence if e.route == "transfer" and e.crafted_on == "reference")
    # right on either side, so that clean errors count nowhere
    both = transfer.attacked & own[0].attacked
    if not both.any():
        return Measurement(None, "no sample is right on both sides")
    foreign, native = transfer.fools_engine[both], own[0].fools_engine[both]
    lead = tango(int((foreign & ~native).sum()), int((native & ~foreign).sum()), int(both.sum())).low
    why = "95 % lower bound of the lead of transferred inputs over inputs crafted on the engine"
    return Measurement(lead, why)


@check(order=30, at_most=0.5, of_margin=True)
def not_more_robust(worst: Comparison) -> Measurement:
    """Lower bound of the engine's gain over its source: export makes no encoder robust, only its gradients worse."""
    bound = tango(worst.only_engine, worst.only_reference, len(worst.engine)).low
    why = "95 % lower bound of the engine's gain in worst-case accuracy: suspected gradient masking"
    return Measurement(bound, why)


@check(order=50, at_most=0, required=False)
def independent_reference(engine_info: Mapping[str, Any], reference_info: Mapping[str, Any]) -> Measurement:
    """Whether the engine is held against something other than itself; advisory, for where there is no torch."""
    same = engine_info.get("sha256") is not None and engine_info.get("sha256") == reference_info.get("sha256")
    why = "the reference is another model than the engine"
    if same:
        why = "engine and reference are one graph at two levels of optimisation: what the export lost cannot show"
    return Measurement(float(same), why)


def fooled(evidence: Sequence[Evidence], *routes: str) -> NDArray[np.bool_]:
    """Where the engine is fooled by any attack of these routes."""
    flags = [e.fools_engine for e in evidence if e.route in routes]
    union: NDArray[np.bool_] = np.logical_or.reduce(flags)
    return union
