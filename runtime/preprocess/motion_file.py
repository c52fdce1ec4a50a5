"""Motion from CSV and npy files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import InputError
from advcal_edge.runtime.preprocess.frame import Recording
from advcal_edge.runtime.preprocess.magic import NPY, read_magic
from advcal_edge.runtime.preprocess.reader import decode_file

AXES = ("ax", "ay", "az", "gx", "gy", "gz")
TIMES = ("t", "time", "timestamp")
MAX_TEXT = 64 * 2**20
"""Bytes: two hours at 100 Hz."""

LONGEST_GAP = 10.0
"""Median steps: a line drawn through a longer gap would be motion that nobody measured."""


def read_motion(path: str | os.PathLike[str], file_rate: float) -> Recording:
    """The six axes (6, t) in a file, at the rate of its timestamps or else at `file_rate`.

    CSV has a header that names `AXES`, in any order, and perhaps a time in seconds, or no header and six columns; npy
    holds (6, t) or (t, 6), and (6, 6) is the former.

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
        raise InputError(f"`{path}` is neither a CSV nor an npy file")
    names, table = _read_table(path)
    values = np.stack([table[names.index(axis)] for axis in AXES])
    for name in names:
        if name in TIMES:
            return _even(values, table[names.index(name)], path)
    return Recording(values, file_rate)


def _read_table(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Names of columns, and their numbers (columns, rows)."""
    read_magic(path, MAX_TEXT)
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read `{path}`: {error}") from error
    lines = [line for line in lines if line.strip()]
    first = [cell.strip().strip('"').lower() for cell in lines[0].split(",")] if lines else []
    headed = not all(map(_is_number, first))
    names = first if headed else list(AXES)
    unknown = sorted(set(names) - set(AXES) - set(TIMES))
    if unknown or len(set(names)) < len(names) or not set(AXES) <= set(names) or len(set(names) & set(TIMES)) > 1:
        raise InputError(
            f"`{path}` has the columns {', '.join(names[:12])}; expected each of {', '.join(AXES)} once,"
            f" and at most one of {', '.join(TIMES)}"
        )
    if len(lines) <= headed:
        raise InputError(f"`{path}` holds no samples")
    try:
        table = np.loadtxt(lines[headed:], delimiter=",", ndmin=2, comments=None)
    except ValueError as error:
        raise InputError(f"`{path}` is no table of numbers: {error}") from error
    if table.shape[1] != len(names):
        hint = None if headed else f"a header names the columns: `{','.join(('t', *AXES))}`"
        raise InputError(f"`{path}` has {table.shape[1]} columns; expected {', '.join(names)}", hint=hint)
    return names, table.T


def _even(values: NDArray[np.float64], times: NDArray[np.float64], path: Path) -> Recording:
    """Samples at uneven times, interpolated linearly at even ones of the mean rate."""
    steps = np.diff(times)
    if len(steps) == 0 or not np.isfinite(times).all() or steps.min() <= 0:
        raise InputError(f"`{path}` has timestamps that do not rise; expected finite seconds, each above the last")
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
