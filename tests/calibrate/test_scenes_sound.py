"""The sound of a scene tells its class, and beyond it the distance, the size and the pace of what sounds."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from advcal_edge.calibrate.data.builtin.rendering import OBJECT_NAMES, render, scene_samples
from advcal_edge.calibrate.data.builtin.scene import Scene, draw_scene
from advcal_edge.calibrate.data.builtin.sound import VOICES
from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.runtime.sensors import Recording


def wave(scene: Scene) -> NDArray[np.float32]:
    frame = render(scene, "audio")
    assert isinstance(frame, Recording)
    return frame.values


def loudness(scene: Scene) -> float:
    return float(np.log(np.std(wave(scene))))


def spectra(samples: Samples) -> NDArray[np.float64]:
    """Mean and deviation over time of the logarithmic power in 24 bands, (n, 48)."""
    edges = np.geomspace(1, 240, 25).astype(int)
    rows = []
    for frame in samples.frames:
        assert isinstance(frame, Recording)
        power = np.abs(np.fft.rfft(frame.values.reshape(-1, 480) * np.hanning(480))) ** 2
        bands = np.stack([power[:, low : max(high, low + 1)].mean(axis=1) for low, high in pairwise(edges)], 1)
        log = np.log(bands + 1e-7)
        rows.append(np.concatenate([log.mean(axis=0), log.std(axis=0)]))
    return np.array(rows)


def test_sounds_are_finite_waves_within_full_scale() -> None:
    for frame in scene_samples("audio", 3, 32).frames:
        assert isinstance(frame, Recording)
        assert frame.values.dtype == np.float32
        assert frame.values.shape == (24000,)
        assert np.isfinite(frame.values).all()
        assert 0 < np.abs(frame.values).max() <= 1


def test_classes_are_told_apart_by_the_nearest_mean_spectrum() -> None:
    train, test = scene_samples("audio", 11, 160), scene_samples("audio", 12, 96)
    x, held_out = spectra(train), spectra(test)
    centre, spread = x.mean(axis=0), x.std(axis=0)
    means = np.stack(
        [((x - centre) / spread)[train.labels == label].mean(axis=0) for label in range(len(OBJECT_NAMES))]
    )
    away = ((((held_out - centre) / spread)[:, None] - means) ** 2).sum(axis=2)
    assert 0.6 < (away.argmin(axis=1) == test.labels).mean() < 1.0  # chance is 1/8


@pytest.mark.parametrize("name", ["person", "dog", "truck", "drone", "hot machine"])
def test_what_is_farther_away_is_quieter(name: str) -> None:
    near = [draw_scene(name, seed) for seed in range(8)]
    far = [replace(scene, object=replace(scene.object, distance=4 * scene.object.distance)) for scene in near]
    fall = np.array([loudness(scene) for scene in near]) - [loudness(scene) for scene in far]
    assert (fall > 0).all()
    assert np.median(fall) > 0.5


def lowest_peak(scene: Scene) -> float:
    """Hertz of the strongest line of the voice below 700 Hz."""
    voice = VOICES[scene.name](scene, np.random.default_rng(0))
    power = np.abs(np.fft.rfft(voice * np.hanning(len(voice))))
    return float(power[: int(700 * 1.5)].argmax() / 1.5)


def test_small_drones_sing_higher_than_large_ones() -> None:
    drones = [draw_scene("drone", seed) for seed in range(40)]
    pitch = [scene.motion.beat for scene in drones]
    assert np.corrcoef(np.log([scene.metres for scene in drones]), np.log(pitch))[0, 1] < -0.7
    heard = [lowest_peak(scene) for scene in drones]
    assert np.corrcoef(np.log(heard), np.log(pitch))[0, 1] > 0.5


def test_cars_that_drive_fast_hiss_more() -> None:
    driving = [scene for scene in (draw_scene("car", seed) for seed in range(60)) if scene.active]
    hiss = []
    for scene in driving:
        power = np.abs(np.fft.rfft(VOICES["car"](scene, np.random.default_rng(0)))) ** 2
        hiss.append(np.log(power[1500:4500].sum()))  # 1 to 3 kHz
    assert np.corrcoef([scene.motion.speed for scene in driving], hiss)[0, 1] > 0.6


def test_walkers_step_twice_a_stride() -> None:
    walker = next(scene for scene in (draw_scene("person", seed) for seed in range(20)) if scene.active)
    assert walker.motion.beat == pytest.approx(2 * walker.motion.pace.strides)
    standing = next(scene for scene in (draw_scene("person", seed) for seed in range(20)) if not scene.active)
    assert standing.motion.speed == standing.motion.drift == standing.motion.pan == 0
