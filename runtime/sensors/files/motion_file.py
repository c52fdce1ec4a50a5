"""Motion from CSV and npy files."""

from __future__ import annotations

import os
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.image_file import decode_file
from advcal_edge.runtime.sensors.files.sensor_file import AGAIN, NPY, open_sensor_file, read_magic
from advcal_edge.runtime.sensors.files.text_table import read_lines, read_numbers
from advcal_edge.runtime.sensors.frame import Recording

AXES = ("ax", "ay", "az", "gx", "gy", "gz")
TIMES = ("t", "time", "timestamp")
COLUMNS = f"a header names the columns: `{','.join(('t', *AXES))}`, in m/s2 and rad/s"

BOM = b"\xef\xbb\xbf"

LATEST = 1e15
"""Limit of any clock; larger values no longer increase."""

LONGEST_GAP = 10.0
"""In median steps: interpolation over a longer gap would be motion that was not measured."""


def read_motion(path: str | os.PathLike[str], file_rate: float) -> Recording:
    """The six axes (6, t) in a file, at the rate of its timestamps or else at `file_rate`.

    CSV has a header with the names in `AXES`, in any order, and optionally a time in seconds, or no header and six
    columns; npy holds (6, t) or (t, 6), and (6, 6) is read as the former.

    Raises:
        InputError: missing, too large, of another format, other columns, or timestamps that do not rise, or have gaps.
    """
    path = Path(path)
    head = read_magic(path)
    if head.startswith(NPY):
        array = decode_file(path)
        turned = array.ndim == 2 and array.shape[0] != 6 and array.shape[1] == 6
        return Recording(array.T if turned else array, file_rate)
    if b"\0" in head:
        raise InputError(f"`{path}` is neither a CSV nor an npy file", hint=COLUMNS)
    names, table = _read_table(path)
    values = np.stack([table[names.index(axis)] for axis in AXES])
    for name in names:
        if name in TIMES:
            return _even(values, table[names.index(name)], path)
    return Recording(values, file_rate)


def _read_table(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Column names, and the numbers (columns, rows)."""
    try:
        with open_sensor_file(path, limits.TEXT_BYTES) as file:
            lines = read_lines(file)
            start = list(islice(lines, 2))
            first = start[0].decode("utf-8-sig") if start else ""
            cells = [cell.strip().strip('"').lower() for cell in first.split(",")]
            headed = not all(map(_is_number, cells))
            if len(start) <= headed:
                raise InputError(f"`{path}` holds no samples", hint="the recorder wrote no row of numbers")
            names, rows = _check_names(cells if headed else list(AXES), path), start[headed:]
            columns = rows[0].count(b",") + 1
            if columns != len(names):
                raise InputError(f"`{path}` has {columns} columns; expected {', '.join(names)}", hint=COLUMNS)
            if not headed:
                rows[0] = rows[0].removeprefix(BOM)
            return names, read_numbers(chain(rows, lines), ",", limits.MOTION_SAMPLES.value + 1).T
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read `{path}` as UTF-8: {error}", hint=COLUMNS) from error
    except (ValueError, MemoryError) as error:
        raise InputError(
            f"`{path}` is no table of numbers: {error}", hint=f"numbers between commas, like `0.01,-9.81`; else {AGAIN}"
        ) from error


def _check_names(names: list[str], path: Path) -> list[str]:
    unknown = sorted(set(names) - set(AXES) - set(TIMES))
    if unknown or len(set(names)) < len(names) or not set(AXES) <= set(names) or len(set(names) & set(TIMES)) > 1:
        raise InputError(
            f"`{path}` has the columns {', '.join(name[:40] for name in names[:12])}; expected each of"
            f" {', '.join(AXES)} once, and at most one of {', '.join(TIMES)}",
            hint=COLUMNS,
        )
    return names


def _even(values: NDArray[np.float64], times: NDArray[np.float64], path: Path) -> Recording:
    """Samples at uneven times, interpolated linearly at even times of the mean rate."""
    steps = np.diff(np.clip(times, -LATEST, LATEST))
    if len(steps) == 0 or not np.isfinite(steps).all() or steps.min() <= 0:
        raise InputError(
            f"`{path}` has timestamps that do not rise; expected finite seconds, each above the last",
            hint="sort the rows by time and drop those that come twice, or leave the column out and say"
            " `--set input.file_rate=200`",
        )
    usual, longest = float(np.median(steps)), float(steps.max())
    if longest > LONGEST_GAP * usual:
        raise InputError(
            f"`{path}` has a gap of {longest:g} s at {times[steps.argmax()]:g} s; expected at most"
            f" {LONGEST_GAP:g} times the usual {usual:g} s",
            hint="cut the recording there",
        )
    grid = np.linspace(times[0], times[-1], len(times))
    return Recording(
        np.stack([np.interp(grid, times, axis) for axis in values]), len(steps) / float(times[-1] - times[0])
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
