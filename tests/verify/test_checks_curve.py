"""Robust accuracy over the radius: measured anew at each, judged for rises and for what is left at the end."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st
from masks import EPS, SPEC, Bent, against, decoy, landscape, slope, staircase
from test_checks_trials import first

from advcal_edge.attacks import PGD
from advcal_edge.bundle import Bundle
from advcal_edge.report.derived_checks import falls_to_zero
from advcal_edge.threat import Norm, ThreatModel
from advcal_edge.verify.engine_checks import MULTIPLES, measure_curve, radii


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_honest_engines_fall_to_zero(exported: Bundle, precision: str) -> None:
    engine, samples = first(exported, precision)
    found = measure_curve(engine, samples, PGD(steps=5))
    assert falls_to_zero(found).status == "pass"
    counts = [int(point.right.sum()) for point in found.points]
    assert counts[0] == (engine.centers.predict(engine.runner(samples.x)) == samples.y).sum()
    assert counts[0] > counts[3] > counts[-1] == 0


def test_a_plain_slope_falls_between_a_quarter_and_a_half_of_eps() -> None:
    model, samples = landscape(against(slope))
    found = measure_curve(model, samples, PGD(steps=10))
    assert [int(point.right.sum()) for point in found.points] == [32, 32, 0, 0, 0, 0, 0, 0]


def test_each_radius_has_starts_of_its_own(exported: Bundle) -> None:
    """At one radius, asked for twice, PGD without steps gives other points: nothing is carried over."""
    engine, samples = first(exported, "fp32", 8)
    seen: list[np.ndarray] = []

    class Start:
        def propose(self, model, x, y, threat, rng):  # type: ignore[no-untyped-def]
            proposal = PGD(steps=0, select="last").propose(model, x, y, threat, rng)
            seen.append((proposal.x - x) / threat.radius)
            return proposal

    measure_curve(engine, samples, Start(), multiples=(1.0, 1.0001))
    assert np.abs(seen[0] - seen[1]).mean() > 0.1


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_dead_gradient_leaves_something_standing(exported: Bundle, precision: str) -> None:
    engine, samples = first(exported, precision)
    dead = replace(engine, gradient=Bent(engine, lambda g: 0 * g))
    check = falls_to_zero(measure_curve(dead, samples, PGD(steps=3)))
    assert (check.status, check.required) == ("fail", True), check


def test_a_saturated_temperature_leaves_something_standing(exported: Bundle) -> None:
    engine, samples = first(exported, "fp32")
    cold = replace(engine, centers=replace(engine.centers, temperature=engine.centers.temperature / 1000))
    assert falls_to_zero(measure_curve(cold, samples, PGD(steps=5))).status == "fail"


@pytest.mark.parametrize("scores", [against(staircase), decoy], ids=["staircase", "decoy"])
def test_deceptive_landscapes_do_not_fall(scores: object) -> None:
    model, samples = landscape(scores)  # type: ignore[arg-type]
    assert falls_to_zero(measure_curve(model, samples, PGD(steps=10))).status == "fail"


@given(eps=st.floats(1e-4, 1), norm=st.sampled_from(["linf", "l2"]))
def test_radii_ascend_to_one_from_which_all_is_in_reach(eps: float, norm: Norm) -> None:
    threat = ThreatModel(norm, eps, SPEC.bounds)
    found = radii(threat, SPEC.shape, MULTIPLES)
    assert found == sorted(set(found))
    assert found[0] == 0
    low, high = (np.full((1, *SPEC.shape), bound, np.float32) for bound in SPEC.bounds)
    whole = threat.with_eps(found[-1])
    np.testing.assert_allclose(whole.project(high, low), high, rtol=1e-6)
    assert found[-1] == pytest.approx(float(threat.distance(high, low)[0]), rel=1e-6)
    assert all(value == found[-1] or value <= 8 * eps for value in found)


def test_l2_ends_at_the_diagonal() -> None:
    model, samples = landscape(against(slope))
    round_ball = replace(samples, threat=ThreatModel("l2", EPS, SPEC.bounds))
    found = measure_curve(model, round_ball, PGD(steps=10))
    assert found.points[-1].eps == pytest.approx(math.sqrt(48))
    assert falls_to_zero(found).status == "pass"
