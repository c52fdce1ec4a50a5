"""Points from .pcd files of the Point Cloud Library, version 0.7: ascii, binary and binary_compressed."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import InputError
from advcal_edge.runtime.preprocess.lzf import decompress

KINDS = {"F": "f", "I": "i", "U": "u"}
HEADER_BYTES = 4096
ENCODINGS = ("ascii", "binary", "binary_compressed")


@dataclass(frozen=True, slots=True)
class _Header:
    """Column types, one for each value of a point; where x, y and z are; and where the points start."""

    columns: tuple[np.dtype[np.generic], ...]
    xyz: tuple[int, int, int]
    points: int
    encoding: str
    start: int


def read_pcd(path: Path, most: int) -> NDArray[np.float64]:
    """The points (p, 3) of a file that claims at most `most`.

    Raises:
        InputError: the file is broken, truncated, of an unknown encoding, or has no x, y, z.
    """
    try:
        data = path.read_bytes()
        return _points(data, _header(data, most))
    except OSError as error:
        raise InputError(f"cannot read `{path}`: {error.strerror or error}") from error
    except (KeyError, IndexError, TypeError, ValueError, struct.error) as error:
        raise InputError(f"`{path}` is no readable .pcd file: {error}") from error


def _header(data: bytes, most: int) -> _Header:
    lines: dict[str, list[str]] = {}
    start = 0
    while "DATA" not in lines:
        end = data.find(b"\n", start, HEADER_BYTES)
        if end < 0:
            raise ValueError("its header has no line DATA")
        words = data[start:end].decode("ascii").split()
        if words and not words[0].startswith("#"):
            lines[words[0]] = words[1:]
        start = end + 1
    missing = [name for name in ("FIELDS", "SIZE", "TYPE", "WIDTH", "HEIGHT", "DATA") if not lines.get(name)]
    if missing:
        raise ValueError(f"its header has no {', '.join(missing)}")
    names = lines["FIELDS"]
    counts = [int(count) for count in lines.get("COUNT", ["1"] * len(names))]
    types = [np.dtype(f"<{KINDS[kind]}{int(size)}") for kind, size in zip(lines["TYPE"], lines["SIZE"], strict=True)]
    if not len(names) == len(types) == len(counts) or not all(1 <= count <= 4096 for count in counts):
        raise ValueError("FIELDS, SIZE, TYPE and COUNT do not agree")
    firsts = dict(zip(names, np.cumsum([0, *counts]).tolist(), strict=False))
    if not {"x", "y", "z"} <= set(names):
        raise ValueError(f"its fields are {', '.join(names[:8])}; expected x, y and z")
    points = int(lines["WIDTH"][0]) * int(lines["HEIGHT"][0])
    if not 0 < points <= most or int(lines.get("POINTS", [str(points)])[0]) != points:
        raise ValueError(f"it claims {points} points; expected 1 to {most}, and as many as POINTS says")
    if lines["DATA"][0] not in ENCODINGS:
        raise ValueError(f"its DATA is {lines['DATA'][0]}; expected {', '.join(ENCODINGS)}")
    columns = tuple(kind for kind, count in zip(types, counts, strict=True) for _ in range(count))
    return _Header(columns, (firsts["x"], firsts["y"], firsts["z"]), points, lines["DATA"][0], start)


def _points(data: bytes, header: _Header) -> NDArray[np.float64]:
    if header.encoding == "ascii":
        rows = [line.split() for line in data[header.start :].decode("ascii").splitlines() if line.strip()]
        if len(rows) != header.points or any(len(row) != len(header.columns) for row in rows):
            raise ValueError(f"it holds {len(rows)} points; expected {header.points} of {len(header.columns)} numbers")
        return np.array([[row[column] for column in header.xyz] for row in rows], np.float64)
    if header.encoding == "binary":
        table = np.dtype([(str(index), kind) for index, kind in enumerate(header.columns)])
        needed = header.points * table.itemsize
        if len(data) - header.start < needed:
            raise ValueError(f"it holds {len(data) - header.start} bytes of points; expected {needed}")
        points = np.frombuffer(data, table, header.points, header.start)
        return np.stack([points[str(column)] for column in header.xyz], axis=1).astype(np.float64)
    return _decompressed(data, header)


def _decompressed(data: bytes, header: _Header) -> NDArray[np.float64]:
    """Compressed files hold field after field, each for all points, and the values of one field of a point together."""
    packed, unpacked = struct.unpack_from("<II", data, header.start)
    starts = np.cumsum([0, *(kind.itemsize for kind in header.columns)]) * header.points
    if unpacked != starts[-1]:
        raise ValueError(f"it claims {unpacked} bytes of points; expected {starts[-1]}")
    block = data[header.start + 8 : header.start + 8 + packed]
    if len(block) != packed:
        raise ValueError(f"it holds {len(block)} bytes of compressed points; expected {packed}")
    flat = decompress(block, unpacked)
    columns = [np.frombuffer(flat, header.columns[at], header.points, int(starts[at])) for at in header.xyz]
    return np.stack(columns, axis=1).astype(np.float64)
