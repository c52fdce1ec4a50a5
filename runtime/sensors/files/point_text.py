"""Points from text: a line each of x, y, z and what else there is, with commas or blanks between them.

So are ModelNet's resampled form (x, y, z and the normal) and ShapeNet's parts (the part too).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.sensor_file import open_sensor_file
from advcal_edge.runtime.sensors.files.text_table import ANEW, read_lines, read_numbers

NUMBER = re.compile(rb"\s*[-+]?\.?\d")


def is_point_text(head: bytes) -> bool:
    """Does a file begin with a number in text?"""
    return NUMBER.match(head) is not None


def read_point_text(path: Path) -> NDArray[np.float64]:
    """The points (p, 3) of a file.

    Raises:
        InputError: the file is too large, or its lines do not hold equally many numbers, three or more.
    """
    with open_sensor_file(path, limits.TEXT_BYTES) as file:
        try:
            lines = read_lines(file)
            first = next(lines, b"")
            between = b"," if b"," in first else None
            columns = len(first.split(between))
            if columns < 3:
                raise ValueError(f"its first line has {columns} words; expected x, y and z")
            rows = _pick(chain([first], lines), between, columns)
            return read_numbers(rows, "," if between else None, limits.POINTS.value + 1)
        except (ValueError, MemoryError) as error:
            raise InputError(f"`{path}` is no readable text of points x, y, z: {error}", hint=ANEW) from error


def _pick(lines: Iterator[bytes], between: bytes | None, columns: int) -> Iterator[bytes]:
    """x, y and z of each line."""
    for line in lines:
        words = line.split(between)
        if len(words) != columns:
            raise ValueError(f"a line has {len(words)} words, the first one {columns}")
        yield (between or b" ").join(words[:3])
