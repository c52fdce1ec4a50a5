"""Points from .pcd files of the Point Cloud Library, version 0.5 to 0.7: ascii, binary and binary_compressed (LZF)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.sensor_file import read_sensor_file
from advcal_edge.runtime.sensors.files.text_table import ANEW, read_lines, read_numbers, whole_number

KINDS = {"F": "f", "I": "i", "U": "u"}
WORDS = (b"VERSION", b"FIELDS", b"COLUMNS", b"SIZE", b"TYPE", b"COUNT", b"WIDTH", b"HEIGHT", b"VIEWPOINT", b"POINTS")
"""With which a header may begin; some writers leave out VERSION or put comments first."""

ENCODINGS = ("ascii", "binary", "binary_compressed")
MOST_VALUES = 4096
"""Per point: descriptors of a few hundred numbers are common."""


@dataclass(frozen=True, slots=True)
class _Header:
    """Names, types and counts of the fields; number of points; start of the data."""

    names: tuple[str, ...]
    kinds: tuple[np.dtype[Any], ...]
    counts: tuple[int, ...]
    points: int
    encoding: str
    start: int

    @property
    def sizes(self) -> list[int]:
        """Bytes of each field of a point."""
        return [kind.itemsize * count for kind, count in zip(self.kinds, self.counts, strict=True)]

    @property
    def axes(self) -> list[int]:
        """Indices of the fields x, y and z."""
        return [self.names.index(axis) for axis in "xyz"]


def is_pcd(path: Path, head: bytes) -> bool:
    """Does a file begin like one, after its comments? Those longer than `head` may hide it; then its name decides."""
    lines = (line.split() for line in head.splitlines())
    first = next((words[0] for words in lines if words and not words[0].startswith(b"#")), None)
    if first is None or head.startswith(b"# .PCD"):
        return head.startswith(b"# .PCD") or (head.startswith(b"#") and path.suffix.lower() == ".pcd")
    return first in WORDS


def read_pcd(path: Path) -> NDArray[np.float64]:
    """The points (p, 3) of a file.

    Raises:
        InputError: the file is broken, truncated, of an unknown encoding, or lacks x, y or z.
    """
    data = read_sensor_file(path)
    try:
        header = _read_header(data)
        limits.POINTS.check(header.points, f"`{path}`", InputError)
        limits.SENSOR_BYTES.check(header.points * sum(header.sizes), f"`{path}`, unpacked,", InputError)
        if header.encoding == "ascii":
            return _read_text(data, header)
        if header.encoding == "binary":
            return _read_binary(data, header)
        return _read_compressed(data, header)
    except (KeyError, IndexError, TypeError, ValueError, MemoryError, struct.error) as error:
        raise InputError(f"`{path}` is no readable .pcd file: {error}", hint=ANEW) from error


def _read_header(data: bytes) -> _Header:
    lines: dict[str, list[str]] = {}
    start = 0
    while "DATA" not in lines:
        end = data.find(b"\n", start, limits.POINT_HEADER_BYTES.value)
        if end < 0:
            raise ValueError("its header has no line DATA")
        words = data[start:end].decode("latin-1").split()
        if words and not words[0].startswith("#"):
            lines["FIELDS" if words[0] == "COLUMNS" else words[0]] = words[1:]
        start = end + 1
    missing = [name for name in ("FIELDS", "SIZE", "TYPE", "WIDTH", "HEIGHT", "DATA") if not lines.get(name)]
    if missing:
        raise ValueError(f"its header has no {', '.join(missing)}")
    names = tuple(lines["FIELDS"])
    counts = tuple(whole_number(count) for count in lines.get("COUNT", ["1"] * len(names)))
    kinds = tuple(
        np.dtype(f"<{KINDS[kind]}{whole_number(size)}") for kind, size in zip(lines["TYPE"], lines["SIZE"], strict=True)
    )
    if not len(names) == len(kinds) == len(counts) or not (all(counts) and sum(counts) <= MOST_VALUES):
        raise ValueError(f"FIELDS, SIZE, TYPE and COUNT do not agree, or name more than {MOST_VALUES} values")
    if not {"x", "y", "z"} <= set(names):
        raise ValueError(f"its fields are {', '.join(names[:8])}; expected x, y and z")
    points = whole_number(lines["WIDTH"][0]) * whole_number(lines["HEIGHT"][0])
    if points == 0 or whole_number(lines.get("POINTS", [str(points)])[0]) != points:
        raise ValueError(f"it claims {points} points; expected one or more, and as many as POINTS says")
    if lines["DATA"][0] not in ENCODINGS:
        raise ValueError(f"its DATA is {lines['DATA'][0][:40]}; expected {', '.join(ENCODINGS)}")
    return _Header(names, kinds, counts, points, lines["DATA"][0], start)


def _read_text(data: bytes, header: _Header) -> NDArray[np.float64]:
    width, firsts = sum(header.counts), np.cumsum([0, *header.counts])
    axes = [int(firsts[axis]) for axis in header.axes]
    file = BytesIO(data)
    file.seek(header.start)
    lines = read_lines(file)

    def pick() -> Iterator[bytes]:
        for line in islice(lines, header.points):
            words = line.split()
            if len(words) != width:
                raise ValueError(f"a point has {len(words)} numbers; expected {width}")
            yield b" ".join([words[axis] for axis in axes])

    points = read_numbers(pick(), None, header.points)
    if len(points) < header.points or next(lines, None) is not None:
        found = len(points) if len(points) < header.points else f"more than {header.points}"
        raise ValueError(f"it holds {found} points; expected {header.points}")
    return points


def _read_binary(data: bytes, header: _Header) -> NDArray[np.float64]:
    fields = zip(header.kinds, header.counts, strict=True)
    table = np.dtype([(str(index), kind, (count,)) for index, (kind, count) in enumerate(fields)])
    needed = header.points * table.itemsize
    if len(data) - header.start < needed:
        raise ValueError(f"it holds {len(data) - header.start} bytes of points; expected {needed}")
    points = np.frombuffer(data, table, header.points, header.start)
    return np.stack([points[str(axis)][:, 0] for axis in header.axes], axis=1).astype(np.float64)


def _read_compressed(data: bytes, header: _Header) -> NDArray[np.float64]:
    """Read fields stored one after another, each for all points; the values of one field of a point are adjacent."""
    packed, unpacked = struct.unpack_from("<II", data, header.start)
    starts = np.cumsum([0, *header.sizes]) * header.points
    if unpacked != starts[-1]:
        raise ValueError(f"it claims {unpacked} bytes of points; expected {starts[-1]}")
    block = memoryview(data)[header.start + 8 : header.start + 8 + packed]
    if len(block) != packed:
        raise ValueError(f"it holds {len(block)} bytes of compressed points; expected {packed}")
    flat = decompress(block, unpacked)
    columns = []
    for axis in header.axes:
        kind, count = header.kinds[axis], header.counts[axis]
        columns.append(np.frombuffer(flat, kind, header.points * count, int(starts[axis]))[::count])
    return np.stack(columns, axis=1).astype(np.float64)


def decompress(data: bytes | memoryview, size: int) -> bytearray:
    """Decompress a block to exactly `size` bytes.

    Raises:
        ValueError: the block is broken, or holds more or less than that.
    """
    out = bytearray()
    at = 0
    try:
        while at < len(data):
            control = data[at]
            at += 1
            if control < 32:  # literal bytes
                run = data[at : at + control + 1]
                if len(run) != control + 1:
                    raise ValueError("it ends within a run")
                out += run
                at += control + 1
            else:  # a copy of earlier bytes
                length = control >> 5
                if length == 7:
                    length += data[at]
                    at += 1
                start = len(out) - ((control & 31) << 8) - data[at] - 1
                at += 1
                length += 2
                if start < 0:
                    raise ValueError("it refers to bytes before its start")
                seen = out[start : start + length]  # shorter than the copy if the two overlap; it is then repeated
                out += (seen * (length // len(seen) + 1))[:length]
            if len(out) > size:
                raise ValueError(f"it holds more than {size} bytes")
    except IndexError:
        raise ValueError("it ends within a copy") from None
    if len(out) != size:
        raise ValueError(f"it holds {len(out)} bytes; expected {size}")
    return out
