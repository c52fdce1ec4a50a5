"""How far the engine's embeddings stray from the reference, beside how far a decision is from turning."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from advcal_edge.centers import Centers
from advcal_edge.report.results import Drift


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
