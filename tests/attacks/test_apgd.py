"""APGD step by step: each rule of the algorithm against arithmetic done by hand."""

from __future__ import annotations

import numpy as np

from advcal_edge.attacks.apgd import MOMENTUM, APGDState, checkpoint_steps
from advcal_edge.threat import ThreatModel

THREAT = ThreatModel("linf", 0.2, (0.0, 1.0))


def start(n: int = 2) -> APGDState:
    x = np.full((n, 1, 2, 2), 0.5, dtype=np.float32)
    return APGDState.start(np.arange(n), x, np.zeros(n), np.zeros((n, 3), np.float32), x, THREAT)


def test_the_first_step_is_as_wide_as_the_ball() -> None:
    np.testing.assert_allclose(start().size, 0.4)


def test_a_step_that_rose_too_rarely_is_halved_and_goes_on_from_the_best() -> None:
    state = start()
    state.rises = np.array([2.0, 3.0], np.float32)  # of 4 steps; 3 of 4 is just enough
    state.checkpoint_value, state.best_value = np.zeros(2, np.float32), np.ones(2, np.float32)
    state.best_x, state.best_gradient = np.full_like(state.x, 0.6), np.full_like(state.x, -1.0)
    state.halve_where_stalled(4)
    np.testing.assert_allclose(state.size, [0.2, 0.4])
    np.testing.assert_allclose(state.x[:, 0, 0, 0], [0.6, 0.5])
    np.testing.assert_allclose(state.gradient[:, 0, 0, 0], [-1.0, 0.0])
    np.testing.assert_array_equal(state.halved, [True, False])
    np.testing.assert_array_equal(state.rises, 0)


def test_a_best_value_that_stood_still_halves_unless_the_step_was_just_halved() -> None:
    state = start()
    state.rises = np.full(2, 4.0, np.float32)
    state.checkpoint_value = state.best_value = np.ones(2, np.float32)
    state.halved = np.array([True, False])
    state.halve_where_stalled(4)
    np.testing.assert_allclose(state.size, [0.4, 0.2])


def test_the_first_evaluation_is_no_rise() -> None:
    assert (start().rises == -1).all()  # it rises from minus infinity and ends at zero


def test_one_step_with_momentum_is_equation_1() -> None:
    state = start(1)
    state.previous, state.x = np.full_like(state.x, 0.48), np.full_like(state.x, 0.5)
    state.gradient, state.size = np.ones_like(state.x), np.array([0.1], np.float32)
    state.step(THREAT, MOMENTUM)
    np.testing.assert_allclose(state.x, 0.5 + 0.75 * 0.1 + 0.25 * 0.02, rtol=1e-6)
    np.testing.assert_allclose(state.previous, 0.5)


def test_keep_drops_the_same_rows_everywhere() -> None:
    state = start(3)
    state.keep(np.array([True, False, True]))
    np.testing.assert_array_equal(state.rows, [0, 2])
    assert {len(getattr(state, name)) for name in ("x", "x0", "y", "best_x", "size", "rises")} == {2}
    assert len(state.clean) == 3  # who left stays a negative


def test_apgd_checkpoints_are_the_papers() -> None:
    # p = 0, 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99 for 100 steps
    assert checkpoint_steps(100) == {22, 41, 57, 70, 80, 87, 93, 99}
