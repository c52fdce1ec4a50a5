"""Check of clean agreement off the held-out samples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import AttackedModel
from advcal_edge.report.checks import RULES, Check, judge_value
from advcal_edge.retrieval import TIE
from advcal_edge.stats import wilson
from advcal_edge.verify.check import check
from advcal_edge.verify.checks.comparison import measure_drift
from advcal_edge.verify.model_set import embed


@check()
def agrees_elsewhere(
    engine: AttackedModel, reference: AttackedModel, elsewhere: Mapping[str, NDArray[np.float32]]
) -> Check:
    """Share of inputs that are not held out on which engine and reference disagree, of the kind with most of them.

    They disagree if their labels differ, unless the reference's two best scores are closer than `TIE`, as for two
    samples mixed into one; or if the cosine of their embeddings is below that of `cosine_floor`.
    """
    bound, why = 0.0, "no input"
    for kind, x in elsewhere.items():
        z, other = embed(reference, x), embed(engine, x)
        centers, drift = reference.centers, measure_drift(z, other, reference.centers)
        turned = (centers.predict(z) != centers.predict(other)) & (drift.margin >= TIE)
        far = drift.cosine < RULES["cosine_floor"].limit
        count, n = int((turned | far).sum()), len(x)
        low = wilson(count, n).low
        if low >= bound:
            bound, why = low, f"inputs {kind}: {count} of {n} differ"
    return judge_value("agrees_elsewhere", bound, f"95 % lower bound of the share of disagreement off the probe, {why}")
