"""Which columns of a table of points are x, y and z: by the names in it, by those declared, else the first three.

What cannot be a coordinate is refused: stamps, counted rows, a laser's number. Units do not matter, since clouds are
scaled into the unit sphere; millimetres and metres give the same x.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import ConfigError, InputError
from advcal_edge.runtime.sensors.frame import Array, describe
from advcal_edge.spec import Modality

EXPECTED = "points (p, 3 to 32): x, y, z, then what else the sensor gives"
COLUMNS = 32

DECLARE = (
    "say what the columns are, `-` for those to leave out: `--set input.columns=x,y,z,-`, in the order of the file"
)
"""How to say which columns are x, y and z."""

FEW = 24
"""A column that rises by chance does so less often."""

HEAD = 256
"""Rows that are looked at first."""

EPOCH = 9e8
"""Seconds since 1970 in 1998: what rises beyond this is a clock."""

MOST_LASERS = 1024
ALIKE = 1e-3
"""How much, of the radius, normalised clouds may differ in it, and their centroids from the origin."""


class Cloud(np.ndarray[tuple[int, int], np.dtype[np.float64]]):
    """Points (p, 3) of which it is known that the columns are x, y and z: read from a file that says so, or checked."""


def as_cloud(points: NDArray[Any]) -> Cloud:
    """Points (p, 3), or (h, w, 3), whose columns are x, y and z."""
    return np.asarray(points, np.float64).reshape(-1, 3).view(Cloud)


def declared_columns(modality: Modality) -> tuple[str, ...]:
    """The names of `input.columns`; none if nothing is declared.

    Raises:
        ConfigError: x, y and z do not each occur once.
    """
    text = modality.text("columns")
    names = tuple(text.split(",")) if text else ()
    if names and any(names.count(axis) != 1 for axis in "xyz"):
        raise ConfigError(
            f"`input.columns` is `{text}`; expected x, y and z, once each, among the columns of points",
            hint="like `--set input.columns=x,y,z,intensity`; `-` is a column to leave out",
        )
    return names


def axes_of(names: Sequence[str]) -> list[int]:
    """Places of x, y and z among names that have each once."""
    return [names.index(axis) for axis in "xyz"]


def find_axes(frame: object, modality: Modality, where: str) -> Cloud:
    """x, y and z of points (p, c), of an organised cloud (h, w, c), or of a table with fields x, y and z.

    Raises:
        InputError: no such table, or columns that are no coordinates.
        ConfigError: columns were declared without x, y and z.
    """
    if isinstance(frame, Cloud) and frame.ndim == 2 and frame.shape[1] == 3:
        return frame
    if not isinstance(frame, np.ndarray) or frame.ndim == 0:
        raise _misfit(frame, where)
    if frame.dtype.names is not None:
        return _by_fields(frame, where)
    if frame.ndim not in (2, 3) or frame.dtype.kind not in "iuf" or (frame.ndim == 3 and frame.dtype.kind == "u"):
        raise _misfit(frame, where)
    width, names = frame.shape[-1], declared_columns(modality)
    if names and width not in (3, len(names)):
        raise InputError(
            f"{where} is {describe(frame)}; expected the {len(names)} columns of `input.columns`, {','.join(names)}",
            hint=DECLARE,
        )
    if not 3 <= width <= COLUMNS:
        raise _misfit(frame, where)
    if frame.ndim == 3 and _is_stack(frame):
        raise InputError(
            f"{where} is {describe(frame)}, {len(frame)} clouds of the same radius about the origin; expected one",
            hint="give clouds one by one: `list(clouds)`, or a file each",
        )
    if len(names) == width:
        return as_cloud(frame[..., axes_of(names)])
    cloud = as_cloud(frame[..., :3])
    if not modality.assumes_units:
        check_axes(cloud, width, where)
    return cloud


def check_axes(cloud: NDArray[np.float64], width: int, where: str) -> None:
    """Refuse columns that are no coordinates in the first three of `width` columns, of which no names are known.

    Raises:
        InputError: a column that counts rows, or rises like a clock; or before other columns one of whole numbers.
    """
    if len(cloud) < FEW:
        return
    rising = [_rises(cloud[:, axis]) for axis in range(3)]
    for axis, column in enumerate(cloud.T):
        alone = width > 3 and rising.count(True) == 1
        what = ""
        if rising[axis] and column[0] % 1 == 0 and (np.diff(column) == 1).all():
            what = f"counts rows, from {column[0]:g}"
        elif rising[axis] and column[0] > EPOCH:
            what = f"rises from {column[0]:.17g} like stamps of a clock"
        elif rising[axis] and alone:
            what = f"rises from row to row, from {column[0]:g} to {column[-1]:g}, like time"
        elif width > 3 and axis == 0 and _numbers_lasers(column) and not _is_whole(cloud[:, 1:]):
            what = f"holds whole numbers from {column.min():g} to {column.max():g}, like those of a laser or a class"
        if what:
            raise InputError(
                f"column {axis + 1} of {where} {what}; expected the coordinate {'xyz'[axis]} of {len(cloud)} points",
                hint=f"{DECLARE}; coordinates all the same: `--set input.assume_units=yes`",
            )


def _is_stack(clouds: Array) -> bool:
    """Are these several normalised clouds (n, p, 3), as data sets store them, and no organised one (h, w, 3)?"""
    points = np.asarray(clouds[..., :3], np.float64)
    if min(points.shape[:2]) < 2 or not np.isfinite(points).all():
        return False
    radii = np.sqrt((points**2).sum(axis=2)).max(axis=1)
    middles = np.abs(points.mean(axis=1)).max()
    return bool(radii.min() > 0 and np.ptp(radii) < ALIKE * radii.max() and middles < ALIKE * radii.max())


def _by_fields(frame: Array, where: str) -> Cloud:
    """x, y and z of a table with these fields, as drivers give it."""
    fields = {name.lower(): name for name in frame.dtype.names or ()}
    columns = [frame[fields[axis]] for axis in "xyz" if axis in fields]
    if len(columns) < 3 or any(column.dtype.kind not in "iuf" for column in columns):
        raise InputError(
            f"{where} is a table of {', '.join(list(fields)[:8])}; expected fields x, y and z of numbers",
            hint="`numpy.stack([table['px'], table['py'], table['pz']], axis=-1)` gives points (p, 3) of others",
        )
    return as_cloud(np.stack([np.asarray(column, np.float64) for column in columns], axis=-1))


def _misfit(frame: object, where: str) -> InputError:
    """The error for what is no table of points."""
    hint = "give the cloud as (p, 3) numbers, one point a row, as an organised cloud (h, w, 3) of floats, or a file"
    if isinstance(frame, np.ndarray) and frame.ndim in (2, 3) and 3 <= frame.shape[0] <= 16:
        hint = "points come one a row: `cloud.T`" if frame.ndim == 2 else "axes last: `numpy.moveaxis(cloud, 0, -1)`"
    if isinstance(frame, np.ndarray) and frame.ndim == 3 and frame.dtype.kind == "u":
        hint = "this is a picture; clouds (h, w, 3) are of floats or of signed numbers"
    return InputError(f"{where} is {describe(frame)}; expected {EXPECTED}", hint=hint)


def _rises(column: NDArray[np.float64]) -> bool:
    """Does it never fall, and rise often?"""
    for part in (column[:HEAD], column):  # nearly all fall within the first rows
        with np.errstate(over="ignore", invalid="ignore"):
            steps = np.diff(part)
        if not (np.isfinite(part).all() and (steps >= 0).all()):
            return False
    return bool((steps > 0).sum() >= FEW - 1)


def _numbers_lasers(column: NDArray[np.float64]) -> bool:
    """Whole numbers from a small range, several of them."""
    return bool(
        _is_whole(column[:HEAD])
        and _is_whole(column)
        and column.min() >= 0
        and column.max() < MOST_LASERS
        and len(np.unique(column)) >= 4
    )


def _is_whole(values: NDArray[np.float64]) -> bool:
    """Whole numbers alone?"""
    with np.errstate(invalid="ignore"):
        return bool((values == np.rint(values)).all())
