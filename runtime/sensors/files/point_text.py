"""Points from text (xyz, pts, csv, asc): a line each of x, y, z and what else there is.

Between the numbers are blanks, commas or semicolons. So are ModelNet's resampled form (x, y, z and the normal) and
ShapeNet's parts (the part too). Comments may come first, then a line of names, or the number of points alone (.pts).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.sensor_file import open_sensor_file
from advcal_edge.runtime.sensors.files.text_table import ANEW, read_lines, read_numbers, whole_number

NUMBER = re.compile(rb"[-+]?\.?\d|[-+]?(nan|inf)\b", re.IGNORECASE)
SEPARATORS = (b";", b",", None)
COMMENTS = (b"#", b"//")
SUFFIXES = (".xyz", ".pts", ".asc", ".csv", ".txt")
MARK = b"\xef\xbb\xbf"
"""Of UTF-8, which some editors write first."""

TOLD = re.compile(r"points\w*:([012])$")
"""x, y and z of VeloView and ParaView: `Points_m_XYZ:0`."""


@dataclass(frozen=True, slots=True, eq=False)
class PointText:
    """Points (p, 3) of x, y and z, the number of columns in the file, and whether names told which these are."""

    points: NDArray[np.float64]
    columns: int
    named: bool


def is_point_text(path: Path, head: bytes) -> bool:
    """Does a file begin with numbers or with names of x, y and z? Long comments hide it; then the suffix decides."""
    whole = head.removeprefix(MARK)
    for line in whole.splitlines():
        line = line.strip()
        if line and (NUMBER.match(line) or _names(line)):
            return True
        if line and not line.startswith(COMMENTS):
            break
    return bool(whole.strip()) and path.suffix.lower() in SUFFIXES


def read_point_text(path: Path, declared: Sequence[str] = ()) -> PointText:
    """The points of a file; `declared` names its columns, if it does not do so itself.

    Raises:
        InputError: the file is too large, its columns are other than declared or have unknown names, or its lines do
            not hold equally many.
    """
    with open_sensor_file(path, limits.TEXT_BYTES) as file:
        try:
            lines = read_lines(file)
            names, count, first = _begin(lines, path, skip=bool(declared))
            between = next(mark for mark in SEPARATORS if mark is None or mark in first)
            columns = len(first.split(between))
            if columns < 3:
                raise ValueError(f"its first line has {columns} words; expected x, y and z")
            if names and len(names) != columns:
                raise ValueError(f"it names {len(names)} columns, and its first line has {columns} words")
            if not names and declared and columns not in (3, len(declared)):
                raise ValueError(f"it has {columns} columns; expected {','.join(declared)}, as `input.columns` says")
            told = names or (declared if len(declared) == columns else ())
            axes = [told.index(axis) for axis in "xyz"] if told else [0, 1, 2]
            rows = _pick(lines, first, between, columns, axes)
            points = read_numbers(rows, None, limits.POINTS.value + 1)
            if count is not None and len(points) != count:
                raise ValueError(f"it holds {len(points)} points; its first line says {count}")
            return PointText(points, columns, bool(told))
        except (ValueError, MemoryError) as error:
            raise InputError(f"`{path}` is no readable text of points x, y, z: {error}", hint=ANEW) from error


def _begin(lines: Iterator[bytes], path: Path, *, skip: bool) -> tuple[list[str], int | None, bytes]:
    """The names of the columns, the number of points, where either is given, and the first line of numbers.

    Raises:
        InputError: a line of other words, unless `skip` allows for one of other names.
    """
    names: list[str] = []
    count: int | None = None
    for place, line in enumerate(lines):
        line = line.removeprefix(MARK) if place == 0 else line
        if NUMBER.match(line):
            if len(line.split()) == 1 and line.isdigit() and count is None:
                count = whole_number(line.decode("ascii"))
                continue
            return names, count, line
        names = _names(line) or names
        if not names and not line.startswith(COMMENTS):
            if not skip:
                raise InputError(
                    f"`{path}` begins with {ascii(line.decode('latin-1'))[:60]}; expected numbers, or names of columns"
                    " with x, y and z, once each",
                    hint="if these are names of columns, say which are x, y and z: `--set input.columns=x,y,z,-`",
                )
            skip = False
    raise ValueError("it holds no numbers")


def _names(line: bytes) -> list[str]:
    """The names of the columns in a line, if x, y and z are among them once each."""
    text = re.sub(r"^(#|//)\s*", "", line.decode("latin-1")).lower()
    words = [word.strip(" \"'") for word in re.split(r"[;,]" if re.search(r"[;,]", text) else r"\s+", text.strip())]
    names = ["xyz"[int(told[1])] if (told := TOLD.match(word)) else re.split(r"[\s\[(]", word)[0] for word in words]
    return names if all(names.count(axis) == 1 for axis in "xyz") else []


def _pick(
    lines: Iterator[bytes], first: bytes, between: bytes | None, columns: int, axes: Sequence[int]
) -> Iterator[bytes]:
    """x, y and z of each line, with blanks between them."""
    line: bytes | None = first
    while line is not None:
        if not line.startswith(COMMENTS):
            words = line.split(between)
            if len(words) != columns:
                raise ValueError(f"a line has {len(words)} words, the first one {columns}")
            picked = [words[axis].strip() for axis in axes]
            if not all(picked) or any(b" " in word for word in picked):
                raise ValueError(f"a line has no number for x, y or z: {ascii(line.decode('latin-1'))[:60]}")
            yield b" ".join(picked)
        line = next(lines, None)
