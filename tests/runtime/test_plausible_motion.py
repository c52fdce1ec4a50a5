"""Motion that contradicts its units is refused with the setting that makes sense of it; honest motion is taken."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from refusal import refused
from test_motion_files import hand

from advcal_edge.calibrate.data.builtin.datasets import basic_motions, whole_motions
from advcal_edge.runtime.sensors import Recording, preprocess
from advcal_edge.spec import imu

SMALL = imu(64, 50.0)
G = 9.80665
RATE = 100.0
DEGREES = 1 / math.radians(1)


def rest(count: int = 1000, noise: float = 0.1) -> NDArray[np.float64]:
    motion = np.random.default_rng(0).normal(0, noise, (6, count))
    motion[2] += G
    return motion


def scaled(motion: NDArray[np.float64], accel: float, gyro: float) -> NDArray[np.float64]:
    return motion * np.repeat([accel, gyro], 3)[:, None]


def taken(motion: NDArray[np.float64], **declared: Any) -> NDArray[np.float32]:
    return preprocess(SMALL.with_settings(declared), [Recording(motion, RATE)])


@pytest.mark.parametrize("motion", [rest(), hand(1000), hand(1000, seed=5), rest(1000, 0.005)])
@pytest.mark.parametrize(
    ("accel", "declared", "found"),
    [
        (1 / G, "m/s2", "g"),
        (1000 / G, "m/s2", "mg"),
        (1.0, "g", "m/s2"),
        (1.0, "mg", "m/s2"),
        (1000 / G, "g", "mg"),
    ],
)
def test_gravity_in_another_unit(motion: NDArray[np.float64], accel: float, declared: str, found: str) -> None:
    changed = scaled(motion, accel, 1)
    full = {"accel_full_scale": 1e6}
    with refused("expected about 9.8 m/s2") as refusal:
        taken(changed, accel_unit=declared, **full)
    assert f"`--set input.accel_unit={found}`" in str(refusal.value.hint)
    np.testing.assert_allclose(taken(changed, accel_unit=found, **full), taken(motion, **full), atol=1e-4)
    taken(changed, accel_unit=declared, assume_units="yes", **full)


def test_gravity_multiplied_twice() -> None:
    with refused("acceleration of 96") as refusal:
        taken(scaled(rest(), G, 1))
    assert "once too often" in str(refusal.value.hint)


@pytest.mark.parametrize("motion", [rest(), hand(1000), hand(1000, seed=5)])
def test_the_gyroscope_first(motion: NDArray[np.float64]) -> None:
    turned = motion[[3, 4, 5, 0, 1, 2]]
    for gyro in (1.0, DEGREES):
        columns = turned * np.repeat([gyro, 1], 3)[:, None]
        with refused("gravity in its gyroscope") as refusal:
            taken(columns)
        assert "input.columns=gx,gy,gz,ax,ay,az" in str(refusal.value.hint)
    np.testing.assert_array_equal(taken(turned, columns="gx,gy,gz,ax,ay,az"), taken(motion))


@pytest.mark.parametrize("seed", range(4))
def test_degrees_of_a_hand(seed: int) -> None:
    """Gravity turns by a 57th of what the gyroscope says, whether that is fast or slow."""
    motion = hand(1000, seed=seed)
    for slow in (1.0, 0.2):  # the same turn in five times the time
        turn = scaled(motion, 1, DEGREES * slow)
        with refused("expected an angular rate in rad/s") as refusal:
            preprocess(SMALL, [Recording(turn, RATE * slow)])
        assert "input.gyro_unit=deg/s" in str(refusal.value.hint)
    np.testing.assert_allclose(taken(scaled(motion, 1, DEGREES), gyro_unit="deg/s"), taken(motion), atol=1e-4)
    with refused("turns gravity by 57 of what its gyroscope says") as refusal:
        taken(motion, gyro_unit="deg/s")
    assert "input.gyro_unit=rad/s" in str(refusal.value.hint)


def test_degrees_of_a_bias_at_rest() -> None:
    """A gyroscope that lies still says a degree a second, or 60 rad in a minute."""
    motion = rest(6000, 0.02)
    motion[3] += math.radians(1)
    taken(motion)
    with refused("while gravity keeps its direction") as refusal:
        taken(scaled(motion, 1, DEGREES))
    assert "input.gyro_unit=deg/s" in str(refusal.value.hint)


def test_both_units_at_once() -> None:
    with refused("it is in g") as refusal:
        taken(scaled(rest(), 1 / G, DEGREES))
    assert "`--set input.accel_unit=g` `--set input.gyro_unit=deg/s`" in str(refusal.value.hint)


def honest() -> dict[str, NDArray[np.float64]]:
    """Motion that robots, phones and drones make; none contradicts its units."""
    rng, t = np.random.default_rng(1), np.arange(1000) / RATE
    still = np.zeros((3, 1000))
    gravity = np.repeat([[0.0], [0.0], [G]], 1000, axis=1)
    step = 3 * np.abs(np.sin(2 * np.pi * 2 * t)) - 1.5
    run = np.stack([2 * np.sin(12 * t), 2 * np.cos(12 * t), G + 12 * np.sin(2 * np.pi * 2.7 * t)])
    return {
        "a robot that turns in place": np.vstack([gravity, still[:2], np.full((1, 1000), 4.0)]),
        "a spinning top": np.vstack([gravity, still[:2], np.full((1, 1000), 9.5)]),
        "steps": np.vstack([gravity + np.outer([0, 0, 1], step), rng.normal(0, 0.8, (3, 1000))]),
        "a run": np.vstack([run, rng.normal(0, 2.0, (3, 1000))]),
        "free fall": np.vstack([rng.normal(0, 0.05, (3, 1000)), rng.normal(0, 1, (3, 1000))]),
        "linear acceleration at rest": np.vstack([rng.normal(0.05, 0.01, (3, 1000)), rng.normal(0, 0.01, (3, 1000))]),
        "linear acceleration of steps": np.vstack([rng.normal(0, 0.7, (3, 1000)), rng.normal(0, 1, (3, 1000))]),
        "linear acceleration of a run": np.vstack([rng.normal(0, 6, (3, 1000)), rng.normal(0, 2, (3, 1000))]),
        "vibrating arms of a drone": np.vstack([gravity + rng.normal(0, 6, (3, 1000)), rng.normal(0, 1.2, (3, 1000))]),
        "nothing at all": np.zeros((6, 1000)),
        **{f"a hand {seed}": hand(1000, seed=seed) for seed in range(4)},
    }


@pytest.mark.parametrize("split", ["train", "test"])
def test_recordings_of_a_watch_are_taken(split: Any) -> None:
    """BasicMotions: 40 recordings of walking, running, badminton and standing, linear acceleration; and 440 windows."""
    samples = [*whole_motions(split).frames, *basic_motions(split).frames]
    assert len(samples) == 480
    preprocess(SMALL, samples)


@pytest.mark.parametrize("name", honest())
def test_honest_motion_is_taken(name: str) -> None:
    taken(honest()[name])
