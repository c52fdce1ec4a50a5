"""The model of the thermal camera: radiance, emissivity, optics and noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from advcal_edge.calibrate.data.builtin.thermal import (
    KELVIN_PER_COUNT,
    NOISE,
    OFFSET_CELSIUS,
    apparent_celsius,
    radiance,
    sense,
)

QUICK = settings(deadline=None, max_examples=20)


def flat(celsius: float, side: int = 128) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.full((side, side), celsius, np.float32)


@QUICK
@given(celsius=st.floats(-40, 95), seed=st.integers(0, 1000))
def test_a_flat_black_body_is_measured_at_its_temperature_with_the_stated_noise(celsius: float, seed: int) -> None:
    counts = sense(flat(celsius), flat(1.0), 0.0, 64, 0.8, np.random.default_rng(seed))
    assert counts.mean() * KELVIN_PER_COUNT + OFFSET_CELSIUS == pytest.approx(celsius, abs=0.01)
    assert counts.std() * KELVIN_PER_COUNT == pytest.approx(NOISE, rel=0.1)


@QUICK
@given(celsius=st.floats(-60, 300))
def test_radiance_and_apparent_temperature_are_inverse(celsius: float) -> None:
    assert apparent_celsius(radiance(flat(celsius, 1)))[0, 0] == pytest.approx(celsius, abs=0.01)


def test_a_mirror_shows_its_surroundings_and_grey_lies_between() -> None:
    def seen(emissivity: float) -> float:
        counts = sense(flat(50), flat(emissivity), -10.0, 64, 0.8, np.random.default_rng(0))
        return float(counts.mean()) * KELVIN_PER_COUNT + OFFSET_CELSIUS

    assert seen(0.0) == pytest.approx(-10, abs=0.02)
    assert -10 < seen(0.3) < seen(0.9) < 50


def test_optics_blur_a_point_without_losing_its_radiance() -> None:
    scene = flat(20)
    scene[60:68, 60:68] = 80
    point = sense(scene, flat(1.0), 20.0, 64, 1.0, np.random.default_rng(0)) * KELVIN_PER_COUNT + OFFSET_CELSIUS
    assert point.max() < 80
    assert point[30:34, 28].mean() > 20.3  # light beside the point
