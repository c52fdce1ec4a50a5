"""Event recordings to event frames: images of how often each pixel brightened or darkened.

Red is the share of on events, blue that of off events, green their sum up to 1, on black: on events are yellow, off
events cyan, pixels with both white, as in the images of N-Caltech101 that UniBind's image encoder takes (Lyu et al.,
arXiv 2403.12532). Both polarities have one scale: 1 is the 99th percentile of the counts where there are any, so that
a hot pixel does not darken the scene. Bounds [0, 1]; if that percentile is 64 events, eps 4/255 is one event. All
events of a recording count equally, at any time: cut long recordings first. So times only have to rise, in any unit.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import ConfigError, InputError
from advcal_edge.runtime.sensors.event_columns import (
    FEWEST_TO_JUDGE,
    FIELDS,
    LEFT_OUT,
    NAMES,
    check_order,
    declared_order,
)
from advcal_edge.runtime.sensors.files.event_file import read_event_file
from advcal_edge.runtime.sensors.frame import NOTHING, Array, Frame, describe, fit
from advcal_edge.runtime.sensors.grid import snap
from advcal_edge.spec import Modality

EXPECTED = "events (n, 4) with columns t, x, y, p, or an array with fields `t`, `x`, `y`, `p`"

GIVE = "give one row of t, x, y, p for each event: a numpy array, or an npy or HDF5 file"

EVENT_DTYPE = np.dtype([("t", "<f8"), ("x", "<u2"), ("y", "<u2"), ("p", "?")])
"""One event: time in the file's unit, column, row, and whether the pixel brightened."""

FULL_SCALE_PERCENTILE = 99.0

FASTEST, LONGEST = 1e10, 1e6
"""Events a second, and seconds: ten times the fastest camera, and twelve days."""


def check_events(frame: object, where: str, modality: Modality) -> Array:
    """The events (n,) as `EVENT_DTYPE`, in the order of their times.

    Raises:
        InputError: not events, none, NaN, outside the sensor, with a polarity other than 0, 1 or -1, or with times that
            fall, a clock that cannot be, or coordinates that look like times, unless units are assumed.
        ConfigError: the size of the sensor or the columns that are declared cannot be.
    """
    height, width = _sensor(modality)
    columns = _columns(frame, where, declared_order(modality))
    checked = np.empty(len(columns["t"]), EVENT_DTYPE)
    if not np.isfinite(columns["t"]).all():
        raise InputError(
            f"{where} holds NaN or infinite times; expected {EXPECTED}",
            hint="leave such events out: `events[numpy.isfinite(events[:, 0])]`",
        )
    checked["t"] = columns["t"]
    if not modality.assumes_units:
        check_order(columns, where)
        _check_clock(checked["t"], where, modality)
    for name, size in (("x", width), ("y", height)):
        checked[name] = _coordinates(columns[name], name, size or 2**16, where)
    polarity = columns["p"]
    negative, zero, positive = polarity == -1, polarity == 0, polarity == 1
    if not (negative | zero | positive).all() or (negative.any() and zero.any()):
        values = ", ".join(f"{value:g}" for value in np.unique(polarity)[:5].astype(float))
        raise InputError(
            f"{where} holds the polarities {values}; expected 0 and 1, or -1 and 1",
            hint="columns are t, x, y, p; another order is declared: `--set input.columns=x,y,t,p`",
        )
    checked["p"] = positive
    sides = int(checked["x"].max()) + 1, int(checked["y"].max()) + 1
    limits.EVENT_PIXELS.check(
        sides[0] * sides[1], f"{where}, whose events span {sides[0]} x {sides[1]} pixels,", InputError
    )
    return checked


def count_events(events: Array, height: int, width: int) -> NDArray[np.int64]:
    """Counts (2, h, w) of off and on events at each pixel of the sensor."""
    cell = (events["p"].astype(np.int64) * height + events["y"]) * width + events["x"]
    return np.bincount(cell, minlength=2 * height * width).reshape(2, height, width).astype(np.int64)


def _check_clock(times: Array, where: str, modality: Modality) -> None:
    """Refuse times that contradict the unit that is declared. Seconds are not checked: undeclared, they are any unit.

    Raises:
        InputError: more events a second, or a longer recording, than there can be.
    """
    unit = modality.number("time_unit")
    seconds = float(times[-1] - times[0]) * unit
    if unit != 1 and (seconds > LONGEST or len(times) > max(FASTEST * seconds, FEWEST_TO_JUDGE)):
        raise InputError(
            f"{where} holds {len(times)} events in {seconds:.3g} s, if its times are in {modality.text('time_unit')};"
            f" expected at most {FASTEST:g} a second, and {LONGEST:g} s",
            hint="most cameras count microseconds: `--set input.time_unit=us`; leave it out if the unit is not known",
        )


def _columns(frame: object, where: str, order: tuple[str, ...]) -> dict[str, Array]:
    if not isinstance(frame, np.ndarray):
        raise InputError(f"{where} is {describe(frame)}; expected {EXPECTED}", hint=GIVE)
    fields = frame.dtype.fields
    named = {NAMES.get(name.lower(), ""): name for name in fields or ()}
    named |= {name: name for name in FIELDS if name in (fields or ())}
    if frame.ndim == 1 and set(FIELDS) <= set(named):
        columns = {name: frame[named[name]] for name in FIELDS}
    elif fields is None and frame.ndim == 2 and frame.shape[1] == len(order or FIELDS):
        columns = {name: column for name, column in zip(order or FIELDS, frame.T, strict=True) if name != LEFT_OUT}
    else:
        hint = "events come one a row: `events.T`" if frame.ndim == 2 and frame.shape[0] == 4 else GIVE
        if frame.ndim == 2 and frame.shape[1] > len(FIELDS):
            hint = "say what each column is: `--set input.columns=x,y,t,p`, `-` for what is left out"
        raise InputError(f"{where} is {describe(frame)}; expected {EXPECTED}", hint=hint)
    if any(column.dtype.kind not in "biuf" or column.ndim != 1 for column in columns.values()):
        raise InputError(f"{where} is {describe(frame)}; expected {EXPECTED}", hint=GIVE)
    if len(frame) == 0:
        raise InputError(f"{where} holds 0 events; expected at least one", hint=NOTHING)
    limits.EVENTS.check(len(frame), where, InputError)
    return columns


def _coordinates(values: Array, name: str, size: int, where: str) -> Array:
    low, high = float(values.min()), float(values.max())  # NaN propagates through both
    if not (low >= 0 and high < size):
        raise InputError(
            f"{where} spans [{low:g}, {high:g}] in {name}; expected pixels of the sensor, 0 to {size - 1}",
            hint="columns are t, x, y, p; the sensor's size is `input.sensor_height` and `input.sensor_width`",
        )
    if values.dtype.kind == "f" and (values % 1 != 0).any():
        raise InputError(
            f"{where} holds fractions in {name}; expected whole pixels",
            hint="columns are t, x, y, p; coordinates that were undistorted are rounded: `numpy.rint`",
        )
    return values


def _sensor(modality: Modality) -> tuple[int, int]:
    height, width = modality.number("sensor_height"), modality.number("sensor_width")
    most = limits.EVENT_PIXELS.value
    if not all(0 <= side <= 2**16 and side % 1 == 0 for side in (height, width)) or height * width > most:
        raise ConfigError(
            f"the sensor of `input` is {height:g} x {width:g};"
            f" expected whole sides of at most {most} pixels together, or 0 to take them from the events"
        )
    return int(height), int(width)


class _Event:
    """Implements `Sensor`."""

    frame_axes = 2

    def read(self, path: str | os.PathLike[str], modality: Modality) -> Frame:
        return read_event_file(Path(path), declared_order(modality))

    def check(self, frame: object, where: str, modality: Modality) -> Frame:
        return check_events(frame, where, modality)

    def tensors(self, frame: Frame, modality: Modality, clips: int) -> NDArray[np.float32]:
        events = cast(Array, frame)
        height, width = _sensor(modality)
        counts = count_events(events, height or int(events["y"].max()) + 1, width or int(events["x"].max()) + 1)
        full_scale = np.percentile(counts[counts > 0], FULL_SCALE_PERCENTILE)
        off, on = np.minimum(counts / full_scale, 1).astype(np.float32)
        picture = np.stack([on, np.minimum(on + off, 1), off], axis=2)
        return snap(fit(picture, *modality.input.shape[1:]).transpose(2, 0, 1), modality)[None]


EVENT = _Event()
