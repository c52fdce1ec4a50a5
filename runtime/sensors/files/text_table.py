"""Tables of numbers in text files, read line by line; lines are limited to `limits.LINE_BYTES`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits

ANEW = "write it anew, whole and with x, y and z; `numpy.save('cloud.npy', points)` of (p, 3) is the simplest form"
"""How to fix a broken file of points."""

MOST_BLANK = 2**16


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """The non-blank lines from the current position to the end of the file.

    Raises:
        ValueError: a line is too long, and the message names the variable that allows longer ones; or most are blank.
    """
    longest, blank = limits.LINE_BYTES.value, 0
    while line := file.readline(longest + 1):
        if len(line) > longest:
            raise ValueError(f"it has a line of more than {longest} bytes; `{limits.LINE_BYTES.variable}` allows more")
        if line := line.strip():
            yield line
        elif (blank := blank + 1) > MOST_BLANK:
            raise ValueError(f"it has more than {MOST_BLANK} blank lines")


def whole_number(word: str) -> int:
    """Zero or more, of at most 15 digits.

    Raises:
        ValueError: anything else.
    """
    if not (word.isascii() and word.isdigit() and len(word) <= 15):
        raise ValueError(f"`{word[:20]}` is no whole number of at most 15 digits")
    return int(word)


def read_numbers(rows: Iterable[bytes], delimiter: str | None, most: int) -> NDArray[np.float64]:
    """Rows of equally many numbers, (rows, columns), at most `most`; numbers beyond a float are infinite.

    Raises:
        ValueError: words that are not numbers, rows of different lengths, or no rows.
    """
    first = list(islice(rows := iter(rows), 1))
    if not first:
        raise ValueError("it holds no numbers")
    lines = (line.decode("utf-8") for part in (first, rows) for line in part)
    return np.loadtxt(lines, delimiter=delimiter, ndmin=2, comments=None, max_rows=most)
