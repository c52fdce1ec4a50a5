"""Texts, numbers and tables of structures in .mat files, level 5 of the format, as ILSVRC's `meta.mat`.

From "MAT-File Format", The MathWorks: after a header of 128 bytes come elements of a type, a length and data padded to
eight bytes; short ones have both in four bytes. Arrays are elements of elements: flags, dimensions, name, content.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.storage import read_bytes

Value = str | float | dict[str, list["Value"]] | None
"""A text, the first number of an array, or the columns of a table; None for anything else."""

HEADER_BYTES = 128
MATRIX, COMPRESSED = 14, 15
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le", 18: "utf-32-le"}
TABLE, CHARACTERS = 2, 4
NUMERIC = range(6, 16)
"""Classes of arrays."""

DEEPEST = 8
UNPACKED_BYTES = 16 * limits.MIB
"""Thirty times what ILSVRC's unpacks to."""


def read_matlab(path: Path) -> dict[str, Value]:
    """The arrays in a file by their name.

    Raises:
        InputError: missing, too large, truncated, or of another level of the format.
    """
    data = read_bytes(path, limits.DOCUMENT_BYTES, InputError)
    try:
        if data[124:128] != b"\0\1IM":
            raise ValueError("its header is not that of level 5, little endian")
        found: dict[str, Value] = {}
        left = UNPACKED_BYTES
        for kind, content in _elements(data[HEADER_BYTES:]):
            if kind == COMPRESSED:
                unpacker = zlib.decompressobj()
                content = unpacker.decompress(content, left + 1)
                left -= len(content)
                if left < 0:
                    raise ValueError(f"it unpacks to more than {UNPACKED_BYTES} bytes")
                kind, content = next(_elements(content), (0, b""))
            if kind == MATRIX:
                name, value = _read_array(content, 0)
                found[name] = value
        return found
    except (ValueError, TypeError, struct.error, zlib.error, StopIteration) as error:
        raise InputError(
            f"`{path}` is no readable .mat file: {str(error) or 'it ends too early'}", hint="unpack it again"
        ) from error


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of each element."""
    at = 0
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<II", data, at)
        if kind >> 16:  # a short one: the length is in the upper half
            kind, length, start, step = kind & 0xFFFF, kind >> 16, at + 4, 8
            if length > 4:
                raise ValueError(f"a short element claims {length} bytes")
        else:
            start = at + 8
            step = 8 + (length if kind == COMPRESSED else -(-length // 8) * 8)
        if start + length > len(data):
            raise ValueError(f"an element claims {length} bytes; {len(data) - start} are left")
        yield kind, data[start : start + length]
        at += step


def _read_array(content: bytes, depth: int) -> tuple[str, Value]:
    """Name and value of an array; an empty element is an empty array."""
    parts = _elements(content)
    flags = next(parts, (0, b""))[1]
    if not flags or depth > DEEPEST:
        return "", None
    kind, (_, sides), (_, name) = flags[0], next(parts), next(parts)
    value: Value = None
    if kind == TABLE:
        value = _read_table(parts, int(np.prod(np.frombuffer(sides, "<i4"), dtype=object)), depth)
    elif kind == CHARACTERS:
        encoding, text = next(parts, (16, b""))
        value = text.decode(TEXTS[encoding]) if encoding in TEXTS else None
    elif kind in NUMERIC:
        encoding, numbers = next(parts, (9, b""))
        if encoding in NUMBERS and numbers:
            value = float(np.frombuffer(numbers, f"<{NUMBERS[encoding]}")[0])
    return name.decode("latin-1"), value


def _read_table(parts: Iterator[tuple[int, bytes]], rows: int, depth: int) -> dict[str, list[Value]]:
    """Columns of a table of structures, whose fields come row by row."""
    (_, length), (_, names) = next(parts), next(parts)
    width = int.from_bytes(length[:4], "little")
    if not 0 < width <= 64 or len(names) % width:
        raise ValueError(f"names of {width} bytes in {len(names)}")
    fields = [names[at : at + width].split(b"\0")[0].decode("latin-1") for at in range(0, len(names), width)]
    table: dict[str, list[Value]] = {field: [] for field in fields}
    for place, (_, content) in enumerate(parts):
        table[fields[place % len(fields)]].append(_read_array(content, depth + 1)[1])
    if any(len(column) != rows for column in table.values()):
        raise ValueError(f"a table of {rows} structures has other numbers of fields")
    return table
