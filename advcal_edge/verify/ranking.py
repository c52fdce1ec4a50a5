"""The true label's place in the ranking: an attack that takes the first place may leave it among the best five."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from advcal_edge.retrieval import TOP, Rank, share
from advcal_edge.verify.evidence import Evidence


def top_five(reference: Rank, engine: Rank, evidence: Sequence[Evidence], labels: int) -> dict[str, Any] | None:
    """Share of true labels among the best five: clean, and under every crafted input; None among five labels or fewer.

    For information (after arXiv 2505.11895): the attacks aim at the first place, and a sample whose clean label is
    wrong keeps its clean rank, so the worst case is an upper bound.
    """
    if labels <= TOP:
        return None
    worst_reference = np.maximum.reduce([reference, *(item.reference for item in evidence)])
    worst_engine = np.maximum.reduce([engine, *(item.engine for item in evidence)])
    return {
        "labels": labels,
        "clean": {"reference": share(reference < TOP), "engine": share(engine < TOP)},
        "worst case": {"reference": share(worst_reference < TOP), "engine": share(worst_engine < TOP)},
    }
