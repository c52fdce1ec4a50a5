"""How far the engine's embeddings stray from the reference, held against how far a decision is from turning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advcal_edge.centers import Centers
from advcal_edge.stats import wilson
from advcal_edge.verify.check import Measurement, check

NEAR_TIE_LIMIT = 0.05  # bindlite image, n = 200: 0.02 for int8, 0.09 for weights cut to 4 bits


@dataclass(frozen=True, slots=True, eq=False)
class Drift:
    """Per clean sample: cosine of the two embeddings, largest change of a score, and the reference's margin."""

    cosine: NDArray[np.float64]
    change: NDArray[np.float64]
    margin: NDArray[np.float64]

    @property
    def near_ties(self) -> NDArray[np.bool_]:
        """Where (n,) the drift is large enough to turn the decision."""
        return 2 * self.change >= self.margin

    @property
    def near_tie_rows(self) -> NDArray[np.int64]:
        """Indices of the near ties, those first whose margin the drift exceeds most."""
        rows = np.flatnonzero(self.near_ties)
        slack = self.margin[rows] - 2 * self.change[rows]
        return rows[np.argsort(slack, kind="stable")].astype(np.int64)

    def stacked(self) -> NDArray[np.float64]:
        """All three as (3, n)."""
        return np.stack([self.cosine, self.change, self.margin])


def measure_drift(z_reference: NDArray[np.float32], z_engine: NDArray[np.float32], centers: Centers) -> Drift:
    """Drift between embeddings (n, d) of the same inputs, scores in units of cosine.

    An engine's embedding that is not finite counts as the opposite of the reference's, the farthest there is.
    """
    a, b = z_reference.astype(np.float64), z_engine.astype(np.float64)
    b = np.where(np.isfinite(b).all(axis=1, keepdims=True), b, -a)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = (a * b).sum(axis=1) / np.maximum(norms, 1e-12)
    scores = centers.scores(a) * centers.temperature
    change = np.abs(centers.scores(b) * centers.temperature - scores).max(axis=1)
    top = np.sort(scores, axis=1)
    return Drift(cosine, change, top[:, -1] - top[:, -2])


@check(order=40, at_most=NEAR_TIE_LIMIT)
def drift_within_margin(drift: Drift) -> Measurement:
    """Share of clean samples whose decision the drift could turn."""
    ties, n = int(drift.near_ties.sum()), len(drift.margin)
    why = (
        f"95 % lower bound of the share whose drift could turn the decision ({ties} of {n});"
        f" mean cosine {drift.cosine.mean():.6f}"
    )
    return Measurement(wilson(ties, n).low, why)
