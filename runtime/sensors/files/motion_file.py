"""Motion from text tables (CSV and the like) and npy files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.declarations import DECLARATIONS
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.image_file import decode_file
from advcal_edge.runtime.sensors.files.motion_header import COUNTER, NANOSECONDS, SECONDS, Column, read_title
from advcal_edge.runtime.sensors.files.motion_rows import WORDS, read_rows
from advcal_edge.runtime.sensors.files.sample_table import Table, is_number, names_axes, open_table
from advcal_edge.runtime.sensors.files.sensor_file import AGAIN, NPY, open_sensor_file, read_magic
from advcal_edge.runtime.sensors.frame import Recording
from advcal_edge.runtime.sensors.motion_time import evened
from advcal_edge.runtime.sensors.motion_units import AXES, LEFT_OUT, SI, TIME, declared_columns, scaled
from advcal_edge.spec import Modality

NAMES = f"a header names the columns: `{','.join((TIME, *AXES))}`"
ORDER = "or say their order: `--set input.columns=t,ax,ay,az,gx,gy,gz`, `-` for what is left out"
COLUMNS = f"{NAMES}, with units as in `ax [m/s^2]`; {ORDER}"

KITTI_WIDTH, KITTI_ACCEL, KITTI_GYRO = 30, 11, 17
"""Of a row of KITTI's OXTS data, and the places in it of ax and wx."""

COUNTS = 2**16
"""Packet counters of Xsens start again at 0 from here."""


def read_motion(path: str | os.PathLike[str], modality: Modality) -> Recording:
    """The motion in a file, at the rate of its timestamps, of its preamble or else of `file_rate`.

    Text gives six axes (6, t) in m/s2 and rad/s: its header, or `columns`, has the names in any order, and units or
    `accel_unit`, `gyro_unit` and `time_unit`; without either it has six columns. An npy holds (c, t) or (t, c), as a
    driver gives it; square ones are read as the former.

    Raises:
        InputError: missing, too large, of another format, other columns, a header that contradicts what is declared, or
            timestamps that do not rise, have gaps, or are in another unit.
    """
    path = Path(path)
    head = read_magic(path)
    file_rate = modality.number("file_rate", 0.0)
    if head.startswith(NPY):
        array = decode_file(path)
        count = len(declared_columns(modality) or AXES)
        turned = array.ndim == 2 and array.shape[0] != count and array.shape[1] == count
        return Recording(array.T if turned else array, file_rate)
    if b"\0" in head:
        raise InputError(f"`{path}` is neither a CSV nor an npy file", hint=COLUMNS)
    try:
        with open_sensor_file(path, limits.TEXT_BYTES) as file:
            table = open_table(file, names_axes)
            if table.titles and table.titles[0].lower() in WORDS:
                file.seek(0)
                return read_rows(file, f"`{path}`")
            return _read_table(table, path, modality, file_rate)
    except EOFError:
        raise InputError(
            f"`{path}` holds no samples: there is no row of numbers",
            hint=f"{COLUMNS}; if the recorder wrote none, record again",
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read `{path}` as UTF-8: {error}", hint=COLUMNS) from error
    except (ValueError, MemoryError) as error:
        raise InputError(
            f"`{path}` is no table of numbers: {error}", hint=f"numbers between commas, like `0.01,-9.81`; else {AGAIN}"
        ) from error


def _read_table(table: Table, path: Path, modality: Modality, file_rate: float) -> Recording:
    columns = _name_columns(table, path, modality)
    chosen = _choose(columns, path)
    places = tuple(columns.index(column) for column in chosen.values())
    dates = [columns.index(column) for name, column in chosen.items() if name == TIME]
    dates = [place for place in dates if not is_number(table.first[place])]
    numbers = dict(zip(chosen, table.read(places, dates), strict=True))
    accel = _unit("accel_unit", [chosen[axis] for axis in AXES[:3]], path, modality)
    gyro = _unit("gyro_unit", [chosen[axis] for axis in AXES[3:]], path, modality)
    values = scaled(np.stack([numbers[axis] for axis in AXES]), accel, gyro)
    if COUNTER in numbers:
        _check_counter(numbers[COUNTER], path)
    if SECONDS in numbers:
        times, unit = numbers[SECONDS] - numbers[SECONDS][0] + numbers[NANOSECONDS] * 1e-9, 1.0
    elif TIME in numbers:
        times, unit = numbers[TIME], 1.0 if dates else _unit("time_unit", [chosen[TIME]], path, modality)
    else:
        if file_rate and table.rate and abs(file_rate / table.rate - 1) > 0.01:
            raise InputError(
                f"`{path}` says {table.rate:g} Hz before its rows; declared is `input.file_rate` {file_rate:g}",
                hint="`--set input.file_rate=0` takes the rate of each file; mend the file if it is wrong",
            )
        return Recording(values, file_rate or table.rate, unit=SI)
    return Recording(*evened(values, times, unit, f"`{path}`", assume=modality.assumes_units), unit=SI)


def _name_columns(table: Table, path: Path, modality: Modality) -> list[Column]:
    """What each column of a table holds: as declared, as its header says, or the six axes.

    Raises:
        InputError: another number of columns, or a header that contradicts what is declared.
    """
    declared, titles = declared_columns(modality), table.titles
    if titles and len(titles) != table.width:
        raise InputError(
            f"`{path}` has rows of {table.width} cells under a header of {len(titles)}",
            hint="give each column one title, and separate titles as the numbers are",
        )
    if declared:
        if len(declared) != table.width:
            raise InputError(
                f"`{path}` has {table.width} columns; declared are {len(declared)}: {','.join(declared)}",
                hint="`--set input.columns=...` names each of them, `-` for those that are left out",
            )
        return [_agree(name, title, path) for name, title in zip(declared, titles or ("",) * table.width, strict=True)]
    if titles:
        try:
            return [read_title(title) for title in titles]
        except ValueError as error:
            raise InputError(
                f"`{path}`: the column {error}", hint=f"convert it, and give it the unit in its title; {ORDER}"
            ) from error
    if table.width == len(AXES):
        return [Column(axis, axis) for axis in AXES]
    raise InputError(
        f"`{path}` has {table.width} columns and no header; expected {', '.join(AXES)}", hint=_order(table)
    )


def _order(table: Table) -> str:
    """The order of the columns of a table without header, where its width tells it."""
    if table.width == len(AXES) + 1:
        return "`--set input.columns=t,ax,ay,az,gx,gy,gz`, if this is their order"
    if table.width == KITTI_WIDTH:
        names = [LEFT_OUT] * KITTI_WIDTH
        names[KITTI_ACCEL : KITTI_ACCEL + 3], names[KITTI_GYRO : KITTI_GYRO + 3] = AXES[:3], AXES[3:]
        return f"`--set input.columns={','.join(names)}` reads rows of KITTI's OXTS"
    return COLUMNS


def _agree(name: str, title: str, path: Path) -> Column:
    """A declared column, with the unit in its title."""
    try:
        found = read_title(title)
    except ValueError:  # a unit that is not known: what is declared holds
        return Column(title, name.replace(LEFT_OUT, ""))
    if found.name in (*AXES, TIME) and name not in (found.name, LEFT_OUT):
        raise InputError(
            f"`{path}` has a column `{title[:40]}`, declared as {name}; its title says {found.name}",
            hint="declare it as its header says, or leave `input.columns` out; mend the header if it is wrong",
        )
    return Column(title, name.replace(LEFT_OUT, ""), found.unit if found.name == name else "")


def _choose(columns: Sequence[Column], path: Path) -> dict[str, Column]:
    """The column of each axis, and that of the time, if there is one.

    Raises:
        InputError: an axis without a column, or with several.
    """
    chosen = {}
    for name in (*AXES, TIME, SECONDS, NANOSECONDS, COUNTER):
        there = [column for column in columns if column.name == name]
        if name == TIME:
            best = [column for column in there if _merit(column) == min(map(_merit, there))]
        else:
            best = [column for column in there if column.rank == min(each.rank for each in there)]
        if len(best) > 1:
            titles = ", ".join(f"`{column.title[:40]}`" for column in best[:4])
            raise InputError(
                f"`{path}` has {len(best)} columns for {name}: {titles};"
                f" expected each of {', '.join(AXES)} once, and at most one time",
                hint=f"take the others out of the file, {ORDER}",
            )
        if best:
            chosen[name] = best[0]
    missing = [axis for axis in AXES if axis not in chosen]
    if missing:
        titles = ", ".join(column.title[:40] for column in columns[:12])
        raise InputError(
            f"`{path}` has the columns {titles}; expected each of {', '.join(AXES)} once, found none for"
            f" {', '.join(missing)}",
            hint=_joining(missing, [column.title for column in columns]) + COLUMNS,
        )
    if SECONDS in chosen and NANOSECONDS in chosen:
        chosen.pop(TIME, None)
    else:
        chosen = {name: column for name, column in chosen.items() if name not in (SECONDS, NANOSECONDS)}
    return chosen


def _merit(column: Column) -> tuple[bool, bool, int]:
    return column.rank != 0, not column.unit, column.rank


def _joining(missing: Sequence[str], titles: Sequence[str]) -> str:
    """What to do with the files of one sensor each that recorders of phones write."""
    if set(missing) in (set(AXES[:3]), set(AXES[3:])):
        other = "gyroscope" if missing[0].startswith("g") else "accelerometer"
        return f"if the {other} is in another file, join it: interpolate its samples at the times of this one; "
    if {"x", "y", "z"} <= {title.lower() for title in titles}:
        return "this is a file of one sensor: join those of the accelerometer and the gyroscope by their times; "
    return ""


def _unit(setting: str, columns: Sequence[Column], path: Path, modality: Modality) -> float:
    """The size of the unit of columns: that of the header, or else the declared one.

    Raises:
        InputError: the header contradicts itself or what is declared.
    """
    declaration, declared = DECLARATIONS[setting], modality.number(setting)
    stated = {column.unit for column in columns}
    if stated == {""}:
        return declared
    titles = ", ".join(f"`{column.title[:30]}`" for column in columns)
    if len(stated) > 1:
        raise InputError(
            f"`{path}` has columns in different units: {titles}", hint="convert them, and give all the same unit"
        )
    unit = next(iter(stated))
    size = declaration.names[unit]
    if modality.settings.get(setting, declaration.default) not in (declaration.default, unit) and declared != size:
        raise InputError(
            f"`{path}` says {unit} in its header: {titles}; declared is `input.{setting}` {modality.text(setting)}",
            hint=f"`--set input.{setting}={unit}` agrees with the header; mend the header if it is wrong",
        )
    return size


def _check_counter(counts: NDArray[np.float64], path: Path) -> None:
    """Refuse packets that were lost: their samples are missing, and the rate alone does not tell where."""
    steps = np.diff(counts) % COUNTS
    if len(steps) and not (steps == 1).all():
        row = int(np.argmax(steps != 1))
        raise InputError(
            f"`{path}` has lost packets: after row {row + 1} the counter goes from {counts[row]:g} to"
            f" {counts[row + 1]:g}; expected steps of 1",
            hint="cut the recording there, or export it with the lost packets interpolated",
        )
