"""Scans of lidars in .bin files: rows of float32 without a header.

KITTI has four columns, x, y, z and reflectance in [0, 1]; nuScenes has five, x, y, z, intensity in [0, 255] and the
number of the laser. Nothing in a file says which, and a wrong number of columns shears the scan into nonsense. So the
values decide: coordinates within 10 km, intensities, whole laser numbers, and columns that each hold one kind of value.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.sensor_file import read_sensor_file

SUFFIX = ".bin"
LAYOUTS = {4: ("x", "y", "z", "intensity"), 5: ("x", "y", "z", "intensity", "ring")}
"""Columns of KITTI and of nuScenes."""

WIDTHS = range(3, 11)
FARTHEST, FARTHEST_DECLARED = 1e4, 1e7
"""No lidar sees farther than 10 km: in metres, as those sets have, and in millimetres where columns are declared."""

NEAREST = 1e-4
"""Half of the coordinates are larger; integers read as floats are not."""

INTENSITIES = ("intensity", "reflectance", "reflectivity")
RINGS = ("ring", "channel", "line")
BRIGHTEST, MOST_RINGS = 255.0, 256
BETTER = 0.1
"""By how much, in the logarithm of variances, another number of columns must fit better."""

LOOKED_AT = 2**19
"""Values, for which a number of columns is tried."""

SMALLEST_VARIANCE = 1e-12

SAY = (
    "say what the columns are, `-` for those to leave out: `--set input.columns=x,y,z,intensity` for KITTI,"
    " `x,y,z,intensity,ring` for nuScenes"
)


def read_lidar_bin(path: Path, columns: Sequence[str], assume: bool) -> NDArray[np.float32]:
    """x, y and z (p, 3) of a scan; `columns` are the declared ones, which `assume` believes whatever the values are.

    Raises:
        InputError: not a whole number of rows, or values that contradict the columns, or fit those of no known layout.
    """
    data = read_sensor_file(path)
    if len(data) % 4:
        raise InputError(
            f"`{path}` has {len(data)} bytes; expected rows of float32, four bytes each",
            hint="copy it again, or write the points with `numpy.save` as (p, 3)",
        )
    values = np.frombuffer(data, "<f4")
    limits.POINTS.check(len(values) // 3, f"`{path}`", InputError)
    if columns:
        found = contradiction(values, columns, FARTHEST_DECLARED)
        if found and (len(values) % len(columns) or not assume):
            raise InputError(
                f"`{path}` is no scan of the declared columns {','.join(columns)}: {found}",
                hint=f"{SAY}; read it as declared all the same: `--set input.assume_units=yes`",
            )
        names = tuple(columns)
    else:
        names = _find_layout(values, path)
    rows = values.reshape(-1, len(names))
    return np.stack([rows[:, names.index(axis)] for axis in "xyz"], axis=1)


def contradiction(values: NDArray[np.float32], names: Sequence[str], farthest: float = FARTHEST) -> str:
    """What speaks against reading values as rows of these columns; empty if nothing does."""
    if len(values) % len(names):
        return f"its {len(values)} values are no whole number of rows of {len(names)}"
    rows = values.reshape(-1, len(names))
    for name, column in zip(names, rows.T, strict=True):
        finite = np.isfinite(column)
        low, high = (float(column[finite].min()), float(column[finite].max())) if finite.any() else (0.0, 0.0)
        if name in ("x", "y", "z"):
            if max(-low, high) > farthest:
                return f"{name} reaches out to {max(-low, high):g}; expected {farthest:g} at most"
        elif name in INTENSITIES and not (finite.all() and low >= 0 and high <= BRIGHTEST):
            return f"{name} spans [{low:g}, {high:g}]; expected [0, 1] or [0, 255]"
        elif name in RINGS and not (finite.all() and low >= 0 and high < MOST_RINGS and (column % 1 == 0).all()):
            return f"{name} is no whole number from 0 to {MOST_RINGS - 1}: {low:g} to {high:g}"
    lengths = np.abs(rows[:, [names.index(axis) for axis in "xyz"]])
    if np.median(lengths[lengths > 0]) < NEAREST if (lengths > 0).any() else True:
        return "its coordinates are all next to 0"
    return _better_width(values, len(names))


def _better_width(values: NDArray[np.float32], width: int) -> str:
    """Another number of columns into which the values fall better apart, in words."""
    mixed = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    own = _scatter(mixed, width)
    others = {other: _scatter(mixed, other) for other in WIDTHS if other % width and len(values) % other == 0}
    best = min(others, key=others.__getitem__, default=width)
    if best != width and others[best] < own - BETTER:
        return f"its values fall into {best} columns, not into {width}"
    return ""


def _scatter(values: NDArray[np.float32], width: int) -> float:
    """Mean logarithm of the variance of each column; least where no column mixes kinds of values."""
    rows = values[: LOOKED_AT // width * width].reshape(-1, width).astype(np.float64)
    return float(np.log(rows.var(axis=0) + SMALLEST_VARIANCE).mean())


def _find_layout(values: NDArray[np.float32], path: Path) -> tuple[str, ...]:
    """The one known layout that nothing speaks against."""
    named = [5] if path.name.lower().endswith(".pcd.bin") else list(LAYOUTS)
    against = {width: contradiction(values, LAYOUTS[width]) for width in named}
    fitting = [width for width, found in against.items() if not found]
    if len(fitting) != 1:
        why = "; ".join(f"as {width} columns, {found}" for width, found in against.items() if found)
        raise InputError(
            f"`{path}` holds {len(values)} float32 values that "
            + ("fit 4 and 5 columns alike" if fitting else f"are no scan as KITTI or nuScenes store it: {why}"),
            hint=SAY,
        )
    return LAYOUTS[fitting[0]]
