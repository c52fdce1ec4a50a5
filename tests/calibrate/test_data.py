"""The embedded data: the Fashion-MNIST excerpt and the synthetic thermal scenes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from advcal_edge.calibrate.data.fashion_mnist import fashion_mnist
from advcal_edge.calibrate.data.radiometry import (
    KELVIN_PER_COUNT,
    MAX_COUNT,
    NOISE,
    OFFSET_CELSIUS,
    apparent_celsius,
    radiance,
    sense,
)
from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.calibrate.data.thermal_scenes import NAMES, thermal_scene, thermal_scenes
from advcal_edge.errors import InputError

QUICK = settings(deadline=None, max_examples=20)


def flat(celsius: float, side: int = 128) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.full((side, side), celsius, np.float32)


@pytest.mark.parametrize(("split", "n"), [("train", 3000), ("test", 1000)])
def test_the_excerpt_of_fashion_mnist_is_balanced(split: str, n: int) -> None:
    samples = fashion_mnist("train" if split == "train" else "test")
    assert len(samples) == n
    assert np.bincount(samples.labels).tolist() == [n // 10] * 10
    assert {(frame.dtype.name, frame.shape) for frame in samples.frames} == {("uint8", (28, 28))}
    assert samples.license == "MIT"


def test_training_and_test_images_are_disjoint() -> None:
    train, test = ({frame.tobytes() for frame in fashion_mnist(split).frames} for split in ("train", "test"))
    assert not train & test


@QUICK
@given(seed=st.integers(0, 2**63), n=st.integers(0, 20), more=st.integers(0, 5))
def test_scenes_follow_from_their_seed_and_a_longer_run_begins_with_a_shorter(seed: int, n: int, more: int) -> None:
    short, long = thermal_scenes(seed, n, 32), thermal_scenes(seed, n + more, 32)
    assert len(short) == n
    assert np.array_equal(short.labels, long.labels[:n])
    assert all(np.array_equal(a, b) for a, b in zip(short.frames, long.frames, strict=False))


def test_scenes_are_balanced_and_differ_between_seeds() -> None:
    one, other = thermal_scenes(1, 80), thermal_scenes(2, 80)
    assert np.bincount(one.labels).tolist() == [10] * len(NAMES)
    assert not {frame.tobytes() for frame in one.frames} & {frame.tobytes() for frame in other.frames}


@pytest.mark.parametrize("size", [32, 64, 96])
def test_scenes_are_fourteen_bit_counts_of_plausible_temperatures(size: int) -> None:
    frames = np.stack(thermal_scenes(3, 40, size).frames)
    assert frames.dtype == np.uint16
    assert frames.shape == (40, size, size)
    assert frames.max() <= MAX_COUNT
    celsius = frames * KELVIN_PER_COUNT + OFFSET_CELSIUS
    assert celsius.min() > -45
    assert np.median(celsius) == pytest.approx(12, abs=12)


def test_an_empty_scene_differs_from_the_same_scene_with_a_hot_machine() -> None:
    hot, empty = (thermal_scene(name, np.random.default_rng(0)).astype(int) for name in ("hot machine", "empty scene"))
    assert (hot.max() - empty.max()) * KELVIN_PER_COUNT > 10


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


@pytest.mark.parametrize("labels", [np.array([0, 2]), np.array([-1, 0]), np.array([0]), np.array([0, 1], np.int32)])
def test_labels_that_fit_no_frame_or_class_are_refused(labels: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
    frame = np.zeros((2, 2), np.uint8)
    with pytest.raises(InputError, match="labels"):
        Samples((frame, frame), labels, ("a", "b"), "test", "CC0-1.0")


def test_take_keeps_frames_and_labels_together() -> None:
    samples = thermal_scenes(0, 8)
    taken = samples.take(np.array([5, 1]))
    assert taken.labels.tolist() == samples.labels[[5, 1]].tolist()
    assert np.array_equal(taken.frames[0], samples.frames[5])
