"""What motion says of its own units: gravity is 9.8 m/s2, is never turned unseen, and is not in the gyroscope.

A recording contradicts its units if

- the acceleration is that of gravity in another unit: it is steady, in length or in direction, its median is not within
  `GRAVITY_SPAN` of 9.8 m/s2, and it would be in g, mg or m/s2, or divided by 9.8 once;
- gravity is in the columns of the gyroscope, and not in those of the accelerometer;
- the gyroscope turns faster than `FASTEST` rad/s half of the time;
- gravity keeps its direction while the gyroscope turns it on and on, or fast half of the time;
- gravity turns in proportion to what the gyroscope says, but by the ratio of two units.

Linear acceleration, of which gravity was taken off, and free fall have no steady vector, or a small one; they pass.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from advcal_edge.declarations import DECLARATIONS, GRAVITY
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.frame import Recording
from advcal_edge.spec import Modality

Axes = NDArray[np.float64]

GRAVITY_SPAN = (0.75, 1.4)
"""Shares of 9.8 m/s2 between which the median is of recordings that hold gravity, at rest, walking or running."""

STEADY_LENGTH = 0.6
"""Share of the median that 90 % of the lengths exceed; of a vector of random direction and length it is 0.49."""

STEADY_DIRECTION = 0.5
"""Length of the mean vector, as a share of the median length."""

NO_GRAVITY = 0.5
"""m/s2: columns that stay below it half of the time do not hold gravity, in m/s2 or g."""

NARROW = 0.1
"""Width of the middle 80 % of the lengths of gravity in the columns of a gyroscope, if it is in g."""

FASTEST = 10.0
"""rad/s, 570 degrees a second: no robot and no hand turns faster half of the time."""

FASTEST_TILT = 3.0
"""rad/s about level axes, half of the time, while gravity keeps its direction within `STILL` radians."""

STILL = np.radians(10)

DRIFT, TURN = 0.2, 1.0
"""rad/s on average, and radians in all, about level axes, while gravity keeps its direction: no bias is as large."""

WINDOW = 0.05
"""Seconds over which turns are compared: short, since they add up as vectors only while they are small."""

AGREEMENT = 0.5
"""Share of the turning of gravity that what the gyroscope says accounts for, to say that it is in another unit."""

FEWEST_WINDOWS = 20

ASSUME = "`--set input.assume_units=yes` takes it as it is"

LARGEST = 1e12
"""Of any value, so that its square is a number."""


def check_units(motion: Recording, where: str, modality: Modality) -> None:
    """Refuse motion (6, t) in m/s2 and rad/s that contradicts these units.

    Raises:
        InputError: what was seen, what was expected, and the setting that makes sense of it.
    """
    values = np.clip(motion.values.astype(np.float64), -LARGEST, LARGEST)
    accel, gyro = values[:3], values[3:]
    length, speed = (_length(part) for part in (accel, gyro))
    usual, fast = _exceeded(length, 0.5), _exceeded(speed, 0.5)
    if _is_swapped(accel, gyro):
        raise InputError(
            f"{where} has the length of gravity in its gyroscope, {fast:.3g} half of the time, and {usual:.3g} m/s2 in"
            " its accelerometer; expected about 9.8 m/s2 there",
            hint="if the gyroscope comes first: `--set input.columns=gx,gy,gz,ax,ay,az`, with `t,` before if there is a"
            " time; in a file with a header mend its names",
        )
    if not _is_gravity(usual) and _is_steady(accel, length, usual):
        for name, scale in _others("accel_unit", modality):
            if _is_gravity(usual * scale):
                gyro_unit = _explanation(accel * scale, gyro, motion.rate, modality)
                raise InputError(
                    f"{where} has an acceleration of {usual:.3g} m/s2 half of the time; expected about 9.8 m/s2,"
                    f" which it is in {name}",
                    hint=f"`--set input.accel_unit={name}`{' ' if gyro_unit else ''}{gyro_unit}, if that is its unit;"
                    f" {ASSUME}",
                )
        if _is_gravity(usual / GRAVITY):
            raise InputError(
                f"{where} has an acceleration of {usual:.3g} m/s2 half of the time; expected about 9.8 m/s2",
                hint=f"it was multiplied by 9.8 once too often: leave that out; {ASSUME}",
            )
    contradiction = _contradiction(accel, gyro, motion.rate)
    if contradiction:
        setting = _explanation(accel, gyro, motion.rate, modality) or "multiply by the scale of the sensor"
        raise InputError(
            f"{where} {contradiction}; expected an angular rate in rad/s",
            hint=f"{setting}, if that is its unit; {ASSUME}",
        )


def _length(vectors: Axes) -> Axes:
    """Of each column of (3, t)."""
    found: Axes = np.sqrt(np.einsum("ct,ct->t", vectors, vectors))
    return found


def _exceeded(values: Axes, share: float) -> float:
    """What this share of the values reach, without the cost of `numpy.percentile` on a few hundred of them."""
    place = round((1 - share) * (len(values) - 1))
    return float(np.partition(values, place)[place])


def _is_gravity(length: float) -> bool:
    return GRAVITY_SPAN[0] <= length / GRAVITY <= GRAVITY_SPAN[1]


def _is_steady(accel: Axes, length: Axes, usual: float) -> bool:
    """Does the acceleration hold gravity: is its length or its direction steady?"""
    if usual == 0:
        return False
    return bool(
        _exceeded(length, 0.9) > STEADY_LENGTH * usual or np.linalg.norm(accel.mean(axis=1)) > STEADY_DIRECTION * usual
    )


def _is_swapped(accel: Axes, gyro: Axes) -> bool:
    """Is gravity in the columns of the gyroscope alone?"""
    length, speed = _length(accel), _length(gyro)
    usual, fast = _exceeded(length, 0.5), _exceeded(speed, 0.5)
    if not _is_steady(gyro, speed, fast) or (_is_gravity(usual) and _is_steady(accel, length, usual)):
        return False
    low, high = _exceeded(speed, 0.9), _exceeded(speed, 0.1)
    in_g = 0.95 < fast < 1.05 and high - low < NARROW * fast and usual < NO_GRAVITY
    return bool(_is_gravity(fast) or in_g)


def _others(setting: str, modality: Modality) -> Iterator[tuple[str, float]]:
    """Other units than the one declared, and what they multiply values by that were taken for it."""
    declared = modality.number(setting)
    for name, size in DECLARATIONS[setting].names.items():
        if size != declared:
            yield name, size / declared


def _explanation(accel: Axes, gyro: Axes, rate: float, modality: Modality) -> str:
    """The setting with which the gyroscope contradicts nothing, or "" if it does not or there is none."""
    if not _contradiction(accel, gyro, rate):
        return ""
    fits = (name for name, scale in _others("gyro_unit", modality) if not _contradiction(accel, gyro * scale, rate))
    unit = next(fits, "")
    return unit and f"`--set input.gyro_unit={unit}`"


def _contradiction(accel: Axes, gyro: Axes, rate: float) -> str:
    """How the gyroscope contradicts rad/s, in words, or "" if it does not."""
    fast = _exceeded(_length(gyro), 0.5)
    if fast > FASTEST:
        return f"turns at {fast:.3g} rad/s half of the time"
    if not _is_gravity(_exceeded(_length(accel), 0.5)):
        return ""
    mean = accel.mean(axis=1)
    up = mean / max(float(np.linalg.norm(mean)), 1e-9)
    along = up @ accel / np.maximum(_length(accel), 1e-9)
    if _exceeded(along, 0.9) > np.cos(STILL):
        tilting = gyro - up[:, None] * (up @ gyro)
        tilt = _exceeded(_length(tilting), 0.5)
        drift = float(np.linalg.norm(tilting.mean(axis=1)))
        seconds = gyro.shape[1] / rate
        if tilt > FASTEST_TILT:
            return f"tilts at {tilt:.3g} rad/s half of the time, while gravity keeps its direction"
        if drift > DRIFT and drift * seconds > TURN:
            return f"tilts by {drift * seconds:.3g} rad in {seconds:.3g} s, while gravity keeps its direction"
    ratio = _ratio_of_turns(accel, gyro, rate)
    if ratio and not 0.1 < ratio < 10:
        return f"turns gravity by {ratio:.2g} of what its gyroscope says"
    return ""


def _ratio_of_turns(accel: Axes, gyro: Axes, rate: float) -> float:
    """How far gravity turns as a share of what the gyroscope says; 0 where the two do not go together.

    In a frame that turns at w a constant vector a changes by a x w. Changes between means over windows of `WINDOW`
    seconds are fitted by that.
    """
    size = max(1, round(rate * WINDOW))
    count = accel.shape[1] // size
    if count < FEWEST_WINDOWS:
        return 0.0
    a, w = (part[:, : count * size].reshape(3, count, size).mean(axis=2) for part in (accel, gyro))
    seen = np.diff(a, axis=1)
    said = a[[1, 2, 0]] * w[[2, 0, 1]] - a[[2, 0, 1]] * w[[1, 2, 0]]
    said = (said[:, 1:] + said[:, :-1]) / 2 * (size / rate)
    power, shared = float((said**2).sum()), float((said * seen).sum())
    if power == 0 or shared <= 0 or shared**2 < AGREEMENT * power * float((seen**2).sum()):
        return 0.0
    return shared / power
