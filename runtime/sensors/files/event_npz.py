"""Events from .npz archives: one table `event_data` (as N-ImageNet), or a column each."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.npz import Npz, open_npz
from advcal_edge.runtime.sensors.files.sensor_file import AGAIN, open_sensor_file
from advcal_edge.runtime.sensors.frame import Array

ZIP = b"PK\3\4"
FIELDS = ("t", "x", "y", "p")
TABLE = "event_data"
COLUMNS = (FIELDS, ("timestamp", "x_pos", "y_pos", "polarity"))
LAYOUTS = f"a table `{TABLE}` with the fields t, x, y, p or the columns x, y, t, p, or an array for each of t, x, y, p"


def read_event_npz(path: Path, columns: tuple[str, ...]) -> Array:
    """The events in an archive: (n, 4) of t, x, y, p, or as `columns` declares, or (n,) with these fields.

    Raises:
        InputError: missing, broken, of another layout, with too many events, or packed too tightly.
    """
    where = f"`{path}`"
    with open_sensor_file(path) as file, open_npz(file, where, limits.SENSOR_BYTES, InputError, hint=AGAIN) as npz:
        if TABLE in npz.names:
            table = _read(npz, TABLE, path)
            plain = not columns and table.ndim == 2 and table.shape[1] == len(FIELDS)
            return table[:, [2, 0, 1, 3]] if plain else table
        names = next((names for names in COLUMNS if set(names) <= set(npz.names)), None)
        if names is None:
            there = ", ".join(name[:40] for name in npz.names[:8])
            raise InputError(f"{where} holds {there or 'nothing'}; expected {LAYOUTS}", hint=_as_table())
        parts = [_read(npz, name, path) for name in names]
        if len({column.shape for column in parts}) != 1 or parts[0].ndim != 1:
            shapes = ", ".join(f"{name} {column.shape}" for name, column in zip(names, parts, strict=True))
            raise InputError(f"{where} holds columns of different lengths: {shapes}", hint=_as_table())
        events = np.empty(parts[0].shape, [(name, c.dtype) for name, c in zip(FIELDS, parts, strict=True)])
        for name, column in zip(FIELDS, parts, strict=True):
            events[name] = column
        return events


def _read(npz: Npz, name: str, path: Path) -> Array:
    """One array, if it does not unpack to too much."""
    where = f"`{path}`, in `{name}`,"
    with npz.stream(name) as (_, shape, dtype):
        limits.EVENTS.check(shape[0] if shape else 0, where, InputError)
        limits.EVENT_RATIO.check(math.prod(shape) * dtype.itemsize / path.stat().st_size, where, InputError)
    return npz.array(name)


def _as_table() -> str:
    return f"`numpy.savez_compressed('events.npz', {TABLE}=events)` with fields t, x, y, p is the form of N-ImageNet"
