"""Near ties: which decisions the drift of an export could turn, and what a check tells a report."""

from __future__ import annotations

import numpy as np
from hypothesis import given, strategies as st

from advcal_edge.centers import Centers
from advcal_edge.verify.check import Measurement, lead
from advcal_edge.verify.checks.drift import Drift, drift_within_margin, measure_drift
from advcal_edge.verify.checks.effort import noise_harmless
from advcal_edge.verify.checks.stability import unit_norm


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 2)), min_size=1, max_size=40))
def test_near_ties_are_listed_most_endangered_first(samples: list[tuple[float, float]]) -> None:
    change, margin = (np.array(column) for column in zip(*samples, strict=True))
    drift = Drift(np.ones(len(change)), change, margin)
    rows = drift.near_tie_rows
    assert sorted(rows) == np.flatnonzero(drift.near_ties).tolist()
    assert (np.diff((margin - 2 * change)[rows]) >= 0).all()


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


def test_a_check_names_its_page_in_the_report() -> None:
    for check in (unit_norm.settle(Measurement(value, "why")) for value in (0.0, None)):
        assert check.to_json()["page"] == check.page == "docs/checks/unit_norm.md"


def test_a_lead_is_judged_by_its_lower_bound() -> None:
    first, second = np.arange(30) < 20, np.arange(30) < 8
    ahead = noise_harmless.settle(lead(first, second, "one over the other"))
    assert (ahead.status, ahead.why) == (
        "fail",
        "95 % lower bound of the lead of one over the other: +12 / -0 of 30 samples",
    )
    assert noise_harmless.settle(lead(second, first, "the other over one")).status == "pass"
    assert noise_harmless.settle(lead(np.arange(30) < 10, second, "two more")).status == "pass"
