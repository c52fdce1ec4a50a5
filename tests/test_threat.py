"""The ball is the ball, for any norm, bounds and start."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from advcal_edge.errors import BundleError, ConfigError
from advcal_edge.threat import Norm, ThreatModel, format_eps, parse_eps


@given(
    norm=st.sampled_from(["linf", "l2"]),
    eps=st.floats(0, 1),
    low=st.floats(-50, 0),
    width=st.floats(0.1, 100),
    seed=st.integers(0, 1000),
)
def test_projection_is_legal_and_idempotent(norm: Norm, eps: float, low: float, width: float, seed: int) -> None:
    threat = ThreatModel(norm, eps, (low, low + width))
    rng = np.random.default_rng(seed)
    x0 = rng.uniform(low, low + width, (4, 3, 5))
    x = x0 + rng.normal(0, width, x0.shape)
    once = threat.project(x, x0)
    assert (threat.distance(once, x0) <= eps + 1e-9).all()
    assert once.min() >= low
    assert once.max() <= low + width
    np.testing.assert_allclose(threat.project(once, x0), once, atol=1e-9 * width)


def test_numpy_and_torch_agree() -> None:
    rng = np.random.default_rng(0)
    x0, x = rng.uniform(0, 1, (2, 4, 3, 5)).astype(np.float32)
    for norm in ("linf", "l2"):
        threat = ThreatModel(norm, 0.1, (0.0, 1.0))
        expected = threat.project(torch.tensor(x), torch.tensor(x0)).numpy()
        np.testing.assert_allclose(threat.project(x, x0), expected, atol=1e-6)
        distance = threat.distance(torch.tensor(x), torch.tensor(x0)).numpy()
        np.testing.assert_allclose(threat.distance(x, x0), distance, rtol=1e-5)


def test_a_point_inside_stays_where_it_is() -> None:
    x0 = np.full((2, 3), 0.5)
    x = x0 + 0.01
    np.testing.assert_array_equal(ThreatModel("linf", 0.1, (0.0, 1.0)).project(x, x0), x)


def test_eps_is_a_fraction_of_the_width() -> None:
    assert ThreatModel("linf", 4 / 255, (-40.0, 215.0)).radius == pytest.approx(4.0)


@pytest.mark.parametrize(("text", "value"), [("4/255", 4 / 255), ("0.5", 0.5), (" 8/255 ", 8 / 255), ("0", 0.0)])
def test_eps_is_read_as_people_write_it(text: str, value: float) -> None:
    assert parse_eps(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["four", "", "4/0", "4//255", "nan%", "9" * 400])
def test_eps_that_is_no_number(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a fraction like `4/255`"):
        parse_eps(text)


@given(st.integers(0, 255))
def test_eps_is_shown_as_people_write_it(level: int) -> None:
    assert format_eps(level / 255) == f"{level}/255"


def test_parts_of_a_level_are_shown_and_read_back() -> None:
    assert format_eps(0.25 / 255) == "0.25/255"
    assert parse_eps("0.25/255") == 0.25 / 255


@pytest.mark.parametrize("eps", [-0.1, 1.5, float("nan"), float("inf")])
def test_eps_outside_the_bounds(eps: float) -> None:
    with pytest.raises(ConfigError, match="eps must lie in"):
        ThreatModel("linf", eps, (0.0, 1.0))


def test_json_round_trip_and_malformed_manifest() -> None:
    threat = ThreatModel("l2", 0.25, (-1.0, 3.0))
    assert ThreatModel.from_json(json.loads(json.dumps(threat.to_json()))) == threat
    for broken in ({}, {"norm": "linf", "eps": "x", "bounds": [0, 1]}, {"norm": "linf", "eps": 0.1, "bounds": 3}):
        with pytest.raises(BundleError, match="malformed"):
            ThreatModel.from_json(broken)


@given(eps=st.floats(1e-3, 0.2), norm=st.sampled_from(["linf", "l2"]), sides=st.lists(st.integers(1, 40), min_size=1))
def test_the_other_norm_has_the_same_energy_and_leads_back(eps: float, norm: Norm, sides: list[int]) -> None:
    threat, shape = ThreatModel(norm, eps, (-2.0, 3.0)), tuple(sides[:3])
    other = threat.with_norm("l2" if norm == "linf" else "linf", shape)
    pair = {found.norm: found.eps for found in (threat, other)}
    assert pair["l2"] == pytest.approx(pair["linf"] * math.sqrt(math.prod(shape) / 3), rel=1e-3)
    assert other.bounds == threat.bounds
    assert other.with_norm(norm, shape).eps == pytest.approx(eps, rel=1e-3)
    assert threat.with_norm(norm, shape) is threat


def test_the_l2_radius_is_the_root_mean_square_of_noise_in_the_linf_ball() -> None:
    threat = ThreatModel("linf", 4 / 255, (0.0, 1.0))
    noise = np.random.default_rng(0).uniform(-threat.eps, threat.eps, (400, 3 * 32 * 32))
    radius = threat.with_norm("l2", (3, 32, 32)).eps
    assert radius == pytest.approx(np.sqrt((noise**2).sum(axis=1).mean()), rel=0.01)
    assert radius == pytest.approx(0.5, abs=0.005)  # customary on images of this size


@given(seed=st.integers(0, 1000), eps=st.floats(0.01, 3))
def test_the_l2_projection_is_nearest_where_the_bounds_are_far(seed: int, eps: float) -> None:
    rng = np.random.default_rng(seed)
    x0 = rng.uniform(-1, 1, (4, 3, 5))
    x = x0 + rng.normal(0, 2, x0.shape)
    delta = (x - x0).reshape(4, -1)
    lengths = np.linalg.norm(delta, axis=1)
    width, threat = 2000.0, ThreatModel("l2", eps / 2000, (-1000.0, 1000.0))
    expected = x0 + (delta * np.minimum(1, threat.eps * width / lengths)[:, None]).reshape(x0.shape)
    np.testing.assert_allclose(threat.project(x, x0), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_beyond_the_farthest_radius_is_refused(norm: Norm) -> None:
    shape, low, high = (2, 3), np.full((1, 2, 3), -1.0), np.full((1, 2, 3), 2.0)
    farthest = ThreatModel(norm, 0.1, (-1.0, 2.0)).farthest(shape)
    whole = ThreatModel(norm, farthest, (-1.0, 2.0))
    whole.check_reach(shape)
    assert float(whole.distance(high, low)[0]) == pytest.approx(farthest)
    with pytest.raises(ConfigError, match=r"eps must lie in|every input is in reach"):
        ThreatModel(norm, farthest * 1.01, (-1.0, 2.0)).check_reach(shape)


def test_lengths_in_l2_are_shown_as_decimals() -> None:
    assert str(ThreatModel("l2", 0.5, (0.0, 1.0))) == "l2 0.5"
    assert str(ThreatModel("linf", 0.5 / 255, (0.0, 1.0))) == "linf 0.5/255"
