"""The microphone: the object's voice from its distance, wind, and whatever else sounds there."""

from __future__ import annotations

import numpy as np

from advcal_edge.calibrate.data.scenes.objects import NAMES
from advcal_edge.calibrate.data.scenes.scene import Scene, draw_scene
from advcal_edge.calibrate.data.scenes.tones import RATE, SAMPLES, Rng, Wave, band, clock, strike
from advcal_edge.calibrate.data.scenes.voices import VOICES
from advcal_edge.runtime.preprocess import Recording

STREAM = 6
WIND = 0.001, 0.03
"""Root mean square of wind and far traffic, from a still to a windy day; 1 is full scale."""

LOUDNESS = 0.4
"""Deviation of the natural logarithm of a voice's level: engines and throats differ."""

ELSEWHERE = 0.4
"""Share of scenes in which something else sounds too, out of sight."""

AWAY = 5.0, 20.0
"""Its distance in metres."""

SELF_NOISE = 2e-4
MUFFLED = 0.012
"""Decibels that a metre of air, grass and clothes takes at 1 kHz, times the frequency in kHz squared."""


def sound(scene: Scene, size: int = 64) -> Recording:
    """A wave float32 (24000,) in [-1, 1] at 16 kHz, 1.5 s that begin with the video; `size` changes nothing."""
    rng = scene.stream(STREAM)
    heard = _from_afar(_voice(scene, rng), scene.thing.distance) + _surroundings(scene, rng)
    if rng.random() < ELSEWHERE:
        other = draw_scene(NAMES[int(rng.integers(len(NAMES)))], int(rng.integers(2**31)))
        heard = heard + _from_afar(_voice(other, rng), float(rng.uniform(*AWAY)))
    return Recording(np.clip(heard, -1, 1).astype(np.float32), RATE)


def _voice(scene: Scene, rng: Rng) -> Wave:
    return VOICES[scene.name](scene, rng) * float(np.exp(LOUDNESS * rng.standard_normal()))


def _from_afar(voice: Wave, metres: float) -> Wave:
    """Amplitude falls with the distance, high notes faster."""
    kilohertz = np.fft.rfftfreq(SAMPLES, 1e3 / RATE)
    passed = 10 ** (-MUFFLED * metres * kilohertz**2 / 20)
    return np.asarray(np.fft.irfft(np.fft.rfft(voice) * passed, SAMPLES) / max(metres, 0.3))


def _surroundings(scene: Scene, rng: Rng) -> Wave:
    """Wind in gusts, now and then a bird by day, the microphone's own noise."""
    gusts = np.interp(np.linspace(0, 5, SAMPLES), np.arange(6), rng.uniform(0.5, 1.5, 6))
    level = float(np.exp(rng.uniform(*np.log(WIND))))
    heard = level * gusts * band(20, float(rng.uniform(120, 500)), SAMPLES, rng)
    heard = heard + SELF_NOISE * rng.standard_normal(SAMPLES)
    if not scene.light.night and rng.random() < 0.25:
        t = clock(0.08)
        hertz = rng.uniform(3000, 5500)
        chirp = np.sin(np.pi * t / 0.08) * np.sin(2 * np.pi * (hertz * t + rng.uniform(-6000, 6000) * t**2))
        heard = heard + 0.006 * strike(np.sort(rng.uniform(0, 1.4, 4)), [chirp] * 4)
    return heard
