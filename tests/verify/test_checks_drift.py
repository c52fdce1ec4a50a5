"""Drift of an engine's embeddings: which decisions it could turn."""

from __future__ import annotations

import numpy as np

from advcal_edge.centers import Centers
from advcal_edge.report.derived_checks import drift_within_margin
from advcal_edge.verify.checks.comparison import measure_drift


def test_a_decision_that_turned_is_a_near_tie() -> None:
    rng = np.random.default_rng(0)
    centers = Centers(("a", "b", "c"), np.eye(3, dtype=np.float32), 0.1, "axes")
    z = rng.normal(size=(300, 3)).astype(np.float32)
    moved = (z + 0.2 * rng.normal(size=z.shape)).astype(np.float32)
    z, moved = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (z, moved))
    drift = measure_drift(z, moved, centers)
    turned = np.flatnonzero(centers.predict(z) != centers.predict(moved))
    assert len(turned)
    assert set(turned) <= set(drift.near_tie_rows.tolist())
    assert drift_within_margin(drift).status == "fail"
    still = measure_drift(z, z, centers)
    assert still.near_tie_rows.size == 0
    assert drift_within_margin(still).status == "pass"
