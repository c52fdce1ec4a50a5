"""The microphone: the object's sound from its distance, wind, and other sources.

A voice is the sound of an object at one metre; 1 is full scale, the levels are plausible, not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from advcal_edge.calibrate.data.builtin.objects import OBJECT_NAMES
from advcal_edge.calibrate.data.builtin.scene import Scene, draw_scene
from advcal_edge.calibrate.data.builtin.tones import (
    RATE,
    SAMPLES,
    SECONDS,
    Rng,
    Wave,
    band,
    clock,
    falling,
    resonances,
    steady,
    strike,
    ticks,
    tone,
    unit,
)
from advcal_edge.runtime.sensors import Recording

VOWELS = ((750, 1200), (500, 1800), (320, 2300), (450, 850), (330, 700))
"""First two formants in hertz (Peterson and Barney 1952, rounded)."""

BELL = ((1.0, 1.0, 0.4), (2.02, 0.6, 0.25), (2.74, 0.5, 0.15))
"""Partials of a bicycle bell: frequency over the lowest, amplitude, seconds of decay."""

STREAM = 6
WIND = 0.001, 0.03
"""Root mean square of wind and distant traffic, from a still to a windy day; 1 is full scale."""

LOUDNESS = 0.4
"""Deviation of the natural logarithm of a voice's level: engines and throats differ."""

ELSEWHERE = 0.4
"""Share of scenes with another sound source, out of sight."""

AWAY = 5.0, 20.0
"""Its distance in metres."""

SELF_NOISE = 2e-4
MUFFLED = 0.012
"""Attenuation in decibels per metre of air, grass and clothes at 1 kHz, times the frequency in kHz squared."""


def sound(scene: Scene, size: int = 64) -> Recording:
    """A wave float32 (24000,) in [-1, 1] at 16 kHz, 1.5 s, starting with the video; `size` has no effect."""
    rng = scene.stream(STREAM)
    heard = _from_afar(_voice(scene, rng), scene.object.distance) + _surroundings(scene, rng)
    if rng.random() < ELSEWHERE:
        other = draw_scene(OBJECT_NAMES[int(rng.integers(len(OBJECT_NAMES)))], int(rng.integers(2**31)))
        heard = heard + _from_afar(_voice(other, rng), float(rng.uniform(*AWAY)))
    return Recording(np.clip(heard, -1, 1).astype(np.float32), RATE)


def _voice(scene: Scene, rng: Rng) -> Wave:
    return VOICES[scene.name](scene, rng) * float(np.exp(LOUDNESS * rng.standard_normal()))


def _from_afar(voice: Wave, metres: float) -> Wave:
    """Attenuate with the distance, high frequencies faster."""
    kilohertz = np.fft.rfftfreq(SAMPLES, 1e3 / RATE)
    passed = 10 ** (-MUFFLED * metres * kilohertz**2 / 20)
    return np.asarray(np.fft.irfft(np.fft.rfft(voice) * passed, SAMPLES) / max(metres, 0.3))


def _surroundings(scene: Scene, rng: Rng) -> Wave:
    """Gusts of wind, occasional birds by day, and the microphone's own noise."""
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


def person(scene: Scene, rng: Rng) -> Wave:
    """Steps in the rhythm of the legs, speech if standing; taller people speak lower."""
    heard = np.zeros(SAMPLES)
    if scene.active:
        heard += 0.03 * unit(strike(ticks(scene.motion.beat, 0.03, rng), (_step(rng) for _ in range(20))))
    if not scene.active or rng.random() < 0.4:
        heard += 0.06 * _speech(200 * (1.7 / scene.metres) ** 4 * np.exp(0.15 * rng.standard_normal()), rng)
    return heard


def _step(rng: Rng) -> Wave:
    t = clock(0.15)
    thump = np.exp(-t / 0.03) * np.sin(2 * np.pi * rng.uniform(60, 110) * t)
    return np.asarray(2 * thump + np.exp(-t / 0.045) * band(700, 4000, len(t), rng))


def _speech(hertz: float, rng: Rng) -> Wave:
    heard = np.zeros(SAMPLES)
    moment = float(rng.uniform(0, 0.2))
    while moment < SECONDS - 0.1:
        length = float(rng.uniform(0.12, 0.26))
        t = clock(length)
        first, second = VOWELS[int(rng.integers(len(VOWELS)))]
        pitch = hertz * (1.1 - 0.2 * moment / SECONDS) * (1 + 0.08 * np.sin(np.pi * t / length))
        vowel = tone(pitch, resonances(hertz, ((first, 90), (second, 120), (2700, 250))), rng)
        consonant = 0.4 * np.exp(-t / 0.02) * band(2500, 6500, len(t), rng)
        envelope = np.sin(np.pi * t / length) ** 0.6 * rng.uniform(0.5, 1)
        heard += strike(np.array([moment]), [envelope * vowel + consonant])
        moment += length + float(rng.choice([0.02, 0.05, 0.2]))
    return unit(heard)


def dog(scene: Scene, rng: Rng) -> Wave:
    """Barks, and panting between them; small dogs bark higher."""
    hertz = 420 * (0.85 / scene.metres) ** 1.3
    barks = strike(ticks(scene.motion.beat, 0.12, rng), (_bark(hertz, rng) for _ in range(8)))
    breath = band(900, 4000, SAMPLES, rng) * np.maximum(np.sin(2 * np.pi * 4.5 * clock()), 0)
    return np.asarray(0.25 * barks + 0.006 * breath)


def _bark(hertz: float, rng: Rng) -> Wave:
    length = float(rng.uniform(0.1, 0.19))
    t = clock(length)
    pitch = hertz * (0.75 + 0.6 * np.sin(np.pi * np.minimum(t / length, 1)) ** 0.7)
    throat = tone(pitch, resonances(hertz, ((2.2 * hertz, 350), (1700, 500))), rng)
    envelope = np.minimum(t / 0.012, 1) * np.exp(-t / (0.5 * length))
    return np.asarray(envelope * (throat + 0.35 * band(600, 4500, len(t), rng)) * float(rng.uniform(0.6, 1.2)))


def car(scene: Scene, rng: Rng) -> Wave:
    """Firing strokes of a small engine, and the hiss of tyres with speed."""
    engine = tone(steady(scene.motion.beat, 0.02, rng), falling(0.9, rng), rng)
    tyres = band(500, 2800, SAMPLES, rng) * (scene.motion.speed / 12) ** 1.2
    return np.asarray(0.13 * (0.7 + 0.03 * scene.motion.speed) * engine + 0.16 * tyres)


def truck(scene: Scene, rng: Rng) -> Wave:
    """Slow strokes of a big diesel, their clatter, low tyre noise, sometimes the hiss of its brakes."""
    pitch = steady(scene.motion.beat, 0.015, rng)
    strokes = np.maximum(np.cos(2 * np.pi * np.cumsum(pitch) / RATE), 0) ** 4
    engine = tone(pitch, falling(0.6, rng, 24), rng)
    clatter = band(500, 2200, SAMPLES, rng) * strokes
    tyres = band(120, 900, SAMPLES, rng) * (scene.motion.speed / 9) ** 1.2
    heard = 0.35 * engine + 0.22 * clatter + 0.25 * tyres
    if rng.random() < 0.3:
        t = clock(0.4)
        heard += strike(rng.uniform(0, 1.2, 1), [0.3 * np.exp(-t / 0.12) * band(2000, 7000, len(t), rng)])
    return np.asarray(heard)


def bicycle(scene: Scene, rng: Rng) -> Wave:
    """The freewheel's clicks while a wheel turns, and a bell."""
    heard = np.zeros(SAMPLES)
    if scene.active:
        t = clock(0.006)
        click = np.exp(-t / 0.0012) * np.sin(2 * np.pi * rng.uniform(2800, 5200) * t)
        moments = ticks(20 * scene.motion.beat, 0.03, rng)
        heard += 0.03 * unit(strike(moments, (click * rng.uniform(0.6, 1) for _ in moments)))
    if not scene.active or rng.random() < 0.5:
        hertz, t = rng.uniform(1500, 2400), clock(0.9)
        bell = sum(a * np.exp(-t / d) * np.sin(2 * np.pi * hertz * k * t) for k, a, d in BELL)
        first = float(rng.uniform(0, 0.6))
        heard += 0.08 * strike(np.array([first, first + rng.uniform(0.12, 0.3)]), [np.asarray(bell)] * 2)
    return heard


def drone(scene: Scene, rng: Rng) -> Wave:
    """Four rotors of two blades, slightly detuned, and the noise of their air flow."""
    rotors = sum(
        tone(steady(2 * scene.motion.beat * np.exp(0.03 * rng.standard_normal()), 0.01, rng), falling(0.7, rng), rng)
        for _ in range(4)
    )
    return np.asarray(0.05 * rotors + 0.04 * band(1200, 6500, SAMPLES, rng))


def hot_machine(scene: Scene, rng: Rng) -> Wave:
    """Mains hum, knocks at the rate of its flywheel, and a hiss."""
    mains = 50.0 if rng.random() < 0.6 else 60.0
    weights = falling(1.0, rng, 14) * np.where(np.arange(1, 15) % 2 == 0, 1.0, 0.25)
    hum = tone(np.full(SAMPLES, mains), weights, rng)
    t, hertz = clock(0.12), rng.uniform(250, 700)
    knock = np.exp(-t / 0.02) * (np.sin(2 * np.pi * hertz * t) + 0.5 * np.sin(2 * np.pi * 2.3 * hertz * t))
    moments = ticks(2 * scene.motion.beat, 0.01, rng)
    knocks = strike(moments, (knock * rng.uniform(0.7, 1.1) for _ in moments))
    return 0.07 * hum + 0.16 * knocks + rng.uniform(0, 0.03) * band(3000, 7000, SAMPLES, rng)


def nothing(scene: Scene, rng: Rng) -> Wave:
    """Silence."""
    return np.zeros(SAMPLES)


VOICES: Mapping[str, Callable[[Scene, Rng], Wave]] = {
    "person": person,
    "dog": dog,
    "car": car,
    "truck": truck,
    "bicycle": bicycle,
    "drone": drone,
    "hot machine": hot_machine,
    "empty scene": nothing,
}
