"""Motion in a scene: the object through the world, its joints, and the hand-held camera that follows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from advcal_edge.calibrate.data.builtin.shapes import Pace, Point, Pose

Rng = np.random.Generator

SPEED: Mapping[str, tuple[float, float]] = {
    "person": (0.7, 1.7),
    "dog": (0.6, 2.5),
    "car": (1.0, 12.0),
    "truck": (1.0, 9.0),
    "drone": (0.1, 2.0),
}
"""Metres per second of an active object; others do not move."""

DRIFT = 0.12
"""Maximum speed of an object in shares of the frame per second, since the camera follows it."""

PAN = 0.5


@dataclass(frozen=True, slots=True)
class Wave:
    """A sum of sines from zero at time zero, along x and y: amplitudes (2, k) in shares of the frame."""

    amplitude: tuple[tuple[float, ...], tuple[float, ...]]
    hertz: tuple[tuple[float, ...], tuple[float, ...]]
    phase: tuple[tuple[float, ...], tuple[float, ...]]

    def __call__(self, seconds: float) -> Point:
        """Displacement after `seconds`."""
        turns = np.array(self.phase)
        now = np.sin(2 * np.pi * (np.array(self.hertz) * seconds + turns)) - np.sin(2 * np.pi * turns)
        x, y = (np.array(self.amplitude) * now).sum(axis=1)
        return float(x), float(y)


@dataclass(frozen=True, slots=True)
class Motion:
    """Speeds of object and camera; shares are of the frame's side."""

    speed: float
    """Speed of the object through the world, metres per second."""
    beat: float
    """Turns or strokes per second of the object's drive: engine, rotor, pedals, legs."""
    pace: Pace
    drift: float
    """Speed of the object in the frame, shares per second."""
    pan: float
    """Speed of the camera past the background, shares per second."""
    sway: Wave
    bob: Wave

    def of_object(self, seconds: float) -> Pose:
        """Pose of the object after `seconds`."""
        sway, bob = self.sway(seconds), self.bob(seconds)
        return Pose((self.drift * seconds + sway[0] + bob[0], sway[1] + bob[1]), self.pace, seconds)

    def of_background(self, seconds: float) -> Pose:
        """Pose of everything else, which only moves with the camera."""
        x, y = self.sway(seconds)
        return Pose((x - self.pan * seconds, y))


def draw_motion(name: str, active: bool, metres: float, shares: float, facing: float, rng: Rng) -> Motion:
    """Motion of an object `metres` long, with `shares` of the frame per metre; `facing` is its sign of x."""
    low, high = SPEED.get(name, (0.0, 0.0))
    pull, lag, rate = (float(value) for value in rng.uniform(size=3))
    speed = (low + (high - low) * pull**1.5) if active else 0.0
    over = speed * shares * (float(rng.uniform(0.4, 1.0)) if name == "person" else 1.0)
    drift = min(over, DRIFT * (0.3 + 0.7 * lag))
    pan = min(over - drift, PAN)
    beat, pace = _drive(name, active, speed, metres, rate)
    shaking = {"drone": (0.012, 1.5), "hot machine": (0.003, 11.0), "truck": (0.002, 9.0), "car": (0.001, 9.0)}
    depth, hertz = shaking.get(name, (0.0, 1.0)) if active else (0.0, 1.0)
    return Motion(speed, beat, pace, facing * drift, facing * pan, _wave(0.011, 1.1, rng), _wave(depth, hertz, rng))


def _drive(name: str, active: bool, speed: float, metres: float, rate: float) -> tuple[float, Pace]:
    """Beat and pace; small objects turn faster, and standing ones idle."""
    travel = speed / metres
    if name == "person":
        strides = (0.35 + 0.4 * speed) if active else 0.0
        return 2 * strides, Pace(strides, 0.0, travel)
    if name == "dog":
        return 1.5 + 2 * rate, Pace(0.7 + 0.7 * speed if active else 0.0, 0.0, travel)
    if name == "car":
        return (22 + 4 * speed + 20 * rate) if active else 24 + 5 * rate, Pace(0.0, 0.0, travel)
    if name == "truck":
        return (11 + 1.5 * speed + 6 * rate) if active else 9.5 + 2 * rate, Pace(0.0, 0.0, travel)
    if name == "bicycle":
        turns = 0.4 + 2.2 * rate if active else 0.0
        return turns, Pace(0.0, 0.0, turns * 2 * np.pi * 0.22)
    if name == "drone":
        turns = (55 + 35 * rate) / metres**0.5
        return turns, Pace(0.0, turns, travel)
    turns = 1.5 + 5 * rate
    return turns, Pace(0.0, 0.0, turns * 2 * np.pi * 0.08)


def _wave(depth: float, hertz: float, rng: Rng) -> Wave:
    shape = (2, 2)
    table = (
        depth * np.exp(rng.normal(0, 0.5, shape)) * (1.0, 0.35),
        hertz * rng.uniform(0.6, 1.4, shape) * (1.0, 2.6),
        rng.uniform(0, 1, shape),
    )
    amplitude, frequency, phase = (
        (tuple(float(v) for v in part[0]), tuple(float(v) for v in part[1])) for part in table
    )
    return Wave(amplitude, frequency, phase)
