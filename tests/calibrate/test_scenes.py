"""The synthetic scenes: reproducible, balanced, and in the raw form that each sensor delivers."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from advcal_edge.calibrate.data.builtin.rendering import OBJECT_NAMES, SENSORS, render, scene_samples, scenes
from advcal_edge.calibrate.data.builtin.scene import draw_scene
from advcal_edge.calibrate.data.builtin.thermal import KELVIN_PER_COUNT, MAX_COUNT, OFFSET_CELSIUS
from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.errors import ConfigError
from advcal_edge.runtime.sensors import Frame, Recording

MODALITIES = tuple(SENSORS)


def values(frame: Frame) -> NDArray[Any]:
    return frame.values if isinstance(frame, Recording) else frame


def stack(samples: Samples) -> NDArray[Any]:
    return np.stack([values(frame) for frame in samples.frames])


@pytest.mark.parametrize(
    ("seed", "n", "size", "digests"),
    [
        (
            1, 16, 64,
            {
                "3786a71e161a552ee57ba67569bfdb4259bb1b4b16b13b6573bae00fafdd5cef",
                "467fddbfbce08138acf5325b9fe51d85b65f4bf09ccde15374f082bebedab93c",
            },
        ),
        (
            3, 32, 48,
            {
                "65dbe8ea402a8017e60daff4cb97b17495951e383b9e7ea5904c5c0b09a28025",
                "d6878a44529c5deb922e06aaf9b3b5b2e7863da9cf22fe8ced120e9c608ab369",
            },
        ),
    ],
)  # fmt: skip
def test_thermal_frames_are_those_the_committed_weights_were_trained_on(
    seed: int, n: int, size: int, digests: set[str]
) -> None:
    # count 0 was -60 degrees Celsius then
    # with AVX-512 NumPy takes sines and exponentials from another library than without: some counts round differently
    shift = round((-60 - OFFSET_CELSIUS) / KELVIN_PER_COUNT)
    frames = [values(frame) - np.uint16(shift) for frame in scene_samples("thermal", seed, n, size).frames]
    assert hashlib.sha256(b"".join(frame.tobytes() for frame in frames)).hexdigest() in digests


@settings(deadline=None, max_examples=10)
@given(
    modality=st.sampled_from(MODALITIES), seed=st.integers(0, 2**63), n=st.integers(0, 5), more=st.integers(0, 3)
)  # fmt: skip
def test_scenes_follow_from_their_seed_and_a_longer_run_begins_with_a_shorter(
    modality: str, seed: int, n: int, more: int
) -> None:
    short, long = scene_samples(modality, seed, n, 32), scene_samples(modality, seed, n + more, 32)
    assert len(short) == n
    assert np.array_equal(short.labels, long.labels[:n])
    assert all(np.array_equal(values(a), values(b)) for a, b in zip(short.frames, long.frames, strict=False))


@pytest.mark.parametrize("modality", MODALITIES)
def test_scenes_are_balanced_and_differ_between_seeds(modality: str) -> None:
    one, other = scene_samples(modality, 1, 16), scene_samples(modality, 2, 16)
    assert np.bincount(one.labels).tolist() == [2] * len(OBJECT_NAMES)
    assert len({values(frame).tobytes() for frame in (*one.frames, *other.frames)}) == 32


def test_a_scene_renders_alike_alone_and_among_others() -> None:
    third = scenes(4, 3)[2]
    for modality in MODALITIES:
        assert np.array_equal(values(render(third, modality)), values(scene_samples(modality, 4, 3).frames[2]))


@pytest.mark.parametrize("size", [32, 64, 96])
def test_thermal_frames_are_counts_of_plausible_temperatures(size: int) -> None:
    frames = stack(scene_samples("thermal", 3, 40, size))
    assert frames.dtype == np.uint16
    assert frames.shape == (40, size, size)
    assert frames.max() <= MAX_COUNT
    celsius = frames * KELVIN_PER_COUNT + OFFSET_CELSIUS
    assert celsius.min() > -45
    assert np.median(celsius) == pytest.approx(12, abs=12)


def test_a_hot_machine_is_hotter_than_the_empty_scene_around_it() -> None:
    hot, empty = (values(render(draw_scene(name, 0), "thermal")).max() for name in ("hot machine", "empty scene"))
    assert (int(hot) - int(empty)) * KELVIN_PER_COUNT > 10


@pytest.mark.parametrize("size", [32, 64])
def test_images_and_videos_use_the_range_of_eight_bits(size: int) -> None:
    image, video = stack(scene_samples("image", 3, 32, size)), stack(scene_samples("video", 3, 32, size))
    assert image.dtype == video.dtype == np.uint8
    assert image.shape == (32, size, size, 3)
    assert video.shape == (32, 6, size, size, 3)
    brightness = image.mean(axis=(1, 2, 3))
    assert 60 < np.median(brightness) < 160
    assert brightness.std() > 10  # day and night, long and short exposure


def test_depth_and_points_are_in_metres() -> None:
    for scene in scenes(3, 24):
        depth, points = values(render(scene, "depth")), values(render(scene, "point"))
        assert depth.dtype == np.float64
        assert depth.shape == (64, 64)
        assert 0.3 < np.median(depth[depth > 0]) < 100
        assert points.dtype == np.float32
        assert points.shape[1] == 3
        assert 600 <= len(points) <= 3000
        assert np.isfinite(points).all()
        assert points[:, 2].min() > 0


@pytest.mark.parametrize("size", [32, 64])
def test_events_are_ordered_in_time_and_lie_on_the_sensor(size: int) -> None:
    for frame in scene_samples("event", 3, 24, size).frames:
        seconds, x, y, polarity = values(frame).T
        assert values(frame).dtype == np.float64
        assert (np.diff(seconds) >= 0).all()
        assert seconds.min() >= 0
        assert seconds.max() <= 0.25
        assert {x.min() >= 0, x.max() < size, y.min() >= 0, y.max() < size} == {True}
        assert set(np.unique(polarity)) <= {0.0, 1.0}


def test_recordings_state_their_rates() -> None:
    scene = scenes(3, 1)[0]
    video, audio = render(scene, "video"), render(scene, "audio")
    assert isinstance(video, Recording)
    assert isinstance(audio, Recording)
    assert (video.rate, audio.rate) == (4.0, 16000.0)
    assert len(video.values) / video.rate == len(audio.values) / audio.rate == 1.5


def test_an_unknown_sensor_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="`smell`") as caught:
        scene_samples("smell", 0, 1)
    assert "`thermal`" in str(caught.value.hint)
