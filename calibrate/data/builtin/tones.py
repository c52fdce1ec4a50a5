"""Building blocks of the synthetic sounds: tones, bands of noise, bursts."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float64]
Rng = np.random.Generator

RATE = 16000.0
"""Samples per second."""

SECONDS = 1.5
SAMPLES = int(RATE * SECONDS)
HIGHEST = 7600.0
"""Hertz above which nothing is synthesised: below half the rate, to avoid aliasing."""

TABLE = 2048


def clock(seconds: float = SECONDS) -> Wave:
    """Times of the samples."""
    return np.arange(round(seconds * RATE)) / RATE


def tone(hertz: Wave, weights: Wave, rng: Rng) -> Wave:
    """A periodic sound of pitch `hertz` (n,), with `weights[k - 1]` for its k-th harmonic; rms 1."""
    kept = weights[: max(1, min(int(HIGHEST / hertz.max()), len(weights), TABLE // 4))]
    spectrum = np.zeros(TABLE // 2 + 1, complex)
    spectrum[1 : len(kept) + 1] = kept * np.exp(2j * np.pi * rng.random(len(kept)))
    cycle = np.fft.irfft(spectrum, TABLE)
    phase = np.cumsum(hertz) / RATE % 1 * TABLE
    below = phase.astype(np.int64) % TABLE
    share = phase - np.floor(phase)
    played = cycle[below] * (1 - share) + cycle[(below + 1) % TABLE] * share
    return unit(played)


def band(low: float, high: float, samples: int, rng: Rng) -> Wave:
    """Noise between two frequencies with soft edges; rms 1."""
    hertz = np.fft.rfftfreq(samples, 1 / RATE)
    shape = 1 / (1 + (low / np.maximum(hertz, 1)) ** 4) / (1 + (hertz / high) ** 4)
    return unit(np.fft.irfft(np.fft.rfft(rng.standard_normal(samples)) * shape, samples))


def steady(hertz: float, wander: float, rng: Rng, samples: int = SAMPLES) -> Wave:
    """A pitch (samples,) that drifts slowly by about the share `wander`."""
    knots = np.exp(wander * rng.standard_normal(8))
    return hertz * np.interp(np.linspace(0, 7, samples), np.arange(8), knots)


def resonances(hertz: float, peaks: Iterable[tuple[float, float]], count: int = 80) -> Wave:
    """Weights of the harmonics of `hertz` under resonances (centre, width) in hertz, falling as 1 / k."""
    k = np.arange(1, count + 1)
    shape = sum((1 / (1 + ((k * hertz - centre) / width) ** 2) for centre, width in peaks), 0.02)
    return np.asarray(shape / k)


def falling(power: float, rng: Rng, count: int = 60) -> Wave:
    """Weights of harmonics that fall as a power, each varied by a few decibels."""
    return np.asarray(np.arange(1, count + 1) ** -power * np.exp(0.5 * rng.standard_normal(count)))


def ticks(per_second: float, jitter: float, rng: Rng) -> Wave:
    """Times of a regular beat within the recording, each shifted by up to the share `jitter` of the period."""
    moments = (np.arange(int(per_second * SECONDS) + 1) + rng.random()) / per_second
    moments = moments + jitter / per_second * rng.standard_normal(len(moments))
    return moments[(moments >= 0) & (moments < SECONDS)]


def strike(moments: Wave, sounds: Iterable[Wave]) -> Wave:
    """One sound at each moment, cut at the end of the recording."""
    heard = np.zeros(SAMPLES)
    for moment, sound in zip(moments, sounds, strict=False):
        start = int(moment * RATE)
        end = min(start + len(sound), SAMPLES)
        heard[start:end] += sound[: end - start]
    return heard


def unit(wave: Wave) -> Wave:
    """Scale to rms 1; silence stays silent."""
    return wave / max(float(np.sqrt(np.mean(wave**2))), 1e-12)
