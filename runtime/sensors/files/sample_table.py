"""Tables of samples in text: what stands before the numbers, what separates them, and some of their columns."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import chain, islice
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.runtime.sensors.files.motion_header import is_unit, read_title
from advcal_edge.runtime.sensors.files.text_table import read_lines
from advcal_edge.runtime.sensors.motion_units import AXES

COMMENTS = ("#", "//", "%")
LONGEST_PREAMBLE = 100
FEWEST_AXES = 3

STATED_RATE = re.compile(r"(?:update|output|sampl\w*)[ _-]?(?:rate|frequency)\W{0,8}([0-9]+(?:\.[0-9]+)?)\s*Hz", re.I)
DECIMAL_COMMA = re.compile(r"(?<=[0-9]),(?=[0-9])")
SIGNS_OF_LATIN_1 = b"\xb0\xb2\xb5"
"""Degree, square and micro, which spreadsheets write in the units of a header."""


@dataclass(frozen=True, slots=True)
class Table:
    """A text of numbers: the titles of its columns, if it has a header, their number, and the rate it states or 0."""

    titles: tuple[str, ...]
    first: list[str]
    """The cells of the first row of numbers."""
    rate: float
    read: Callable[[Sequence[int], Sequence[int]], NDArray[np.float64]]
    """The columns at these places, (columns, rows), and which of them hold dates, given as seconds.

    Raises:
        ValueError: rows of other widths, or what is no number and no date.
    """

    @property
    def width(self) -> int:
        """Number of its columns."""
        return len(self.first)


def open_table(file: BinaryIO, is_header: Callable[[list[str]], bool]) -> Table:
    """The table in a text, read up to its first row of numbers; `is_header` knows its header, even as a comment.

    Raises:
        ValueError: no UTF-8, lines that are too long, or a preamble that does not end.
        EOFError: no row of numbers.
    """
    lines = map(_decode, read_lines(file))
    preamble: list[str] = []
    for line in islice(lines, LONGEST_PREAMBLE):
        if _is_row(line):
            break
        preamble.append(line)
    else:
        if len(preamble) == LONGEST_PREAMBLE:
            raise ValueError(f"its first {LONGEST_PREAMBLE} lines hold no row of numbers")
        raise EOFError
    stated = [float(found[1]) for found in map(STATED_RATE.search, preamble) if found]
    delimiter = _delimiter(line)
    first = _cells(line, delimiter)

    def read(places: Sequence[int], dates: Sequence[int]) -> NDArray[np.float64]:
        rows = _rows(chain([line], lines), delimiter, len(first))
        # fmt: off
        return np.loadtxt(
            rows, delimiter=delimiter, comments=None, usecols=places, quotechar='"', ndmin=2, encoding=None,
            converters=dict.fromkeys(dates, _seconds) or None, max_rows=limits.MOTION_SAMPLES.value + 1,
        ).T
        # fmt: on

    titles = _titles(preamble, is_header)
    while len(titles) > len(first) and not titles[-1]:  # a header that ends with a delimiter
        titles = titles[:-1]
    return Table(titles, first, stated[-1] if stated else 0.0, read)


def _seconds(date: str) -> float:
    """A date in ISO 8601 in seconds; without a zone it is UTC."""
    moment = datetime.fromisoformat(date.strip().replace("Z", "+00:00"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def _decode(line: bytes) -> str:
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError:
        if not {byte for byte in line if byte >= 0x80} <= set(SIGNS_OF_LATIN_1):
            raise
        return line.decode("latin-1")


def _titles(preamble: list[str], is_header: Callable[[list[str]], bool]) -> tuple[str, ...]:
    """The cells of the header: the line that is known as one, or the last line before the numbers but for comments."""
    for index, line in enumerate(preamble):
        bare = _bare(line)
        titles = _cells(bare, _delimiter(bare))
        if is_header(titles):
            below = [] if index + 1 == len(preamble) else _cells(_bare(preamble[-1]), _delimiter(_bare(preamble[-1])))
            if len(below) == len(titles) and all(map(is_unit, below)):  # a row of units
                titles = [f"{title} [{unit}]" if unit else title for title, unit in zip(titles, below, strict=True)]
            return tuple(titles)
    headers = [line for line in preamble if not line.startswith(COMMENTS)]
    return tuple(_cells(headers[-1], _delimiter(headers[-1]))) if headers else ()


def _bare(line: str) -> str:
    return line.lstrip("#/ ") if line.startswith(COMMENTS) else line  # the % of ROS's `%time` is part of its name


def names_axes(titles: list[str]) -> bool:
    """Are there axes of motion among the titles?"""
    return sum(map(_is_axis, titles)) >= FEWEST_AXES


def _is_axis(title: str) -> bool:
    try:
        return read_title(title).name in AXES
    except ValueError:
        return True


def _is_row(line: str) -> bool:
    """Numbers, and perhaps words in some columns; no title of an axis, and no comment."""
    if line.startswith(COMMENTS):
        return False
    cells = _cells(line, _delimiter(line))
    numbers = sum(map(is_number, cells))
    return numbers >= max(FEWEST_AXES, sum(map(bool, cells)) / 2) and not any(map(_is_axis, cells))


def is_number(cell: str) -> bool:
    """Is it a number, also with a decimal comma?"""
    try:
        float(DECIMAL_COMMA.sub(".", cell))
    except ValueError:
        return False
    return True


def _delimiter(line: str) -> str | None:
    """What separates the cells of a line; None for blanks."""
    for delimiter in (";", "\t"):
        if delimiter in line:
            return delimiter
    return "," if "," in line else None


def _cells(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return line.split()
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error as error:
        raise ValueError(f"`{line[:60]}`: {error}") from error


def _rows(lines: Iterable[str], delimiter: str | None, width: int) -> Iterator[str]:
    """The lines of numbers, each checked to have as many cells as the first."""
    for row, line in enumerate(lines, 1):
        if line.startswith(COMMENTS):
            continue
        if delimiter in (";", "\t") and "." not in line:
            line = DECIMAL_COMMA.sub(".", line)
        if delimiter is None:
            found = len(line.split())
        else:
            found = line.count(delimiter) + 1 if '"' not in line else len(_cells(line, delimiter))
        if found != width:
            raise ValueError(f"row {row} has {found} cells, the first has {width}: `{line[:60]}`")
        yield line
