"""Motion from logs with a row per sample of one sensor, as Google's GNSS Logger and Smartphone Decimeter Challenge.

Each row begins with a word that says its sensor; then come milliseconds of UTC, nanoseconds since the phone started,
and x, y, z in m/s2 or rad/s. The gyroscope is interpolated at the times of the accelerometer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.text_table import read_lines
from advcal_edge.runtime.sensors.frame import Recording
from advcal_edge.runtime.sensors.motion_time import evened
from advcal_edge.runtime.sensors.motion_units import SI

KINDS = {b"UncalAccel": "accelerometer", b"Accel": "accelerometer", b"UncalGyro": "gyroscope", b"Gyro": "gyroscope"}
WORDS = frozenset({"messagetype", *(kind.decode().lower() for kind in KINDS)})
"""First titles of such logs, in lower case."""

TIME, AXES = 2, slice(3, 6)
NANOSECOND = 1e-9


def read_rows(file: BinaryIO, where: str) -> Recording:
    """The motion (6, t) in a log, in m/s2 and rad/s.

    Raises:
        InputError: a sensor is missing, its times do not rise, or the two do not overlap.
        ValueError: a row is no row of numbers.
    """
    found: dict[str, list[list[float]]] = {kind: [] for kind in KINDS.values()}
    for kind, numbers in _rows(file):
        found[kind].append(numbers)
        limits.MOTION_SAMPLES.check(len(found[kind]), where, InputError)
    for kind, rows in found.items():
        if len(rows) < 2:
            raise InputError(
                f"{where} has {len(rows)} rows of the {kind}; expected samples of both sensors",
                hint=f"switch the {kind} on in the recorder, beside the other sensor",
            )
    (accel_times, accel), (gyro_times, gyro) = (_columns(rows) for rows in found.values())
    for axes, times in ((gyro, gyro_times), (accel, accel_times)):
        evened(axes, times, NANOSECOND, where, assume=False)
    both = (accel_times >= gyro_times[0]) & (accel_times <= gyro_times[-1])
    if both.sum() < 2:
        raise InputError(
            f"{where} has no time with samples of both sensors", hint="record both at once, and export them together"
        )
    times = accel_times[both]
    turned = np.stack([np.interp(times, gyro_times, axis) for axis in gyro])
    values, rate = evened(np.concatenate([accel[:, both], turned]), times, NANOSECOND, where, assume=False)
    return Recording(values, rate, unit=SI)


def _rows(file: BinaryIO) -> Iterator[tuple[str, list[float]]]:
    """The sensor, and time and axes, of each row of one of the two sensors."""
    for line in read_lines(file):
        cells = line.split(b",")
        kind = KINDS.get(cells[0].strip())
        if kind is not None:
            if len(cells) < AXES.stop:
                raise ValueError(f"a row of the {kind} has {len(cells)} cells; expected {AXES.stop} or more")
            yield kind, [float(cells[TIME]), *map(float, cells[AXES])]


def _columns(rows: list[list[float]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times (t,), and axes (3, t)."""
    table = np.array(rows).T
    return table[0], table[1:]
