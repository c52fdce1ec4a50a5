"""Points from .ply files: x, y and z of the vertices of Greg Turk's polygon format, in text or binary of either order.

Elements before the vertices are skipped, those after them are not read. Rows with lists have no fixed size: if all
lists of an element are as long as those of its first row, as for triangles, its rows are read at once, otherwise one
by one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
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

ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_NAMES = "char uchar short ushort int uint float double int8 uint8 int16 uint16 int32 uint32 float32 float64"
TYPES = dict(zip(_NAMES.split(), 2 * ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"), strict=True))
MOST_PROPERTIES = 256


@dataclass(frozen=True, slots=True)
class _Property:
    """A value of a row, or a list of values, preceded by its length in another type."""

    name: str
    kind: np.dtype[Any]
    length: np.dtype[Any] | None


@dataclass(slots=True)
class _Element:
    name: str
    rows: int
    properties: list[_Property] = field(default_factory=list)

    @property
    def lists(self) -> int:
        """Number of properties that are lists."""
        return sum(each.length is not None for each in self.properties)

    def least_bytes(self) -> int:
        """Size of its rows if all lists are empty."""
        return self.rows * sum((each.length or each.kind).itemsize for each in self.properties)

    def axes(self) -> list[int]:
        """Indices of the properties x, y and z."""
        names = [each.name if each.length is None else "" for each in self.properties]
        if any(names.count(axis) != 1 for axis in "xyz"):
            raise ValueError(f"its vertices have {', '.join(names[:8]) or 'nothing'}; expected x, y and z, once each")
        return [names.index(axis) for axis in "xyz"]


def read_ply(path: Path) -> NDArray[np.float64]:
    """The vertices (p, 3) of a file.

    Raises:
        InputError: the file is broken, truncated, or has no vertices with x, y, z.
    """
    data = read_sensor_file(path)
    try:
        order, elements, at = _read_header(data)
        last = next((index for index, each in enumerate(elements) if each.name == "vertex"), None)
        if last is None:
            raise ValueError("it has no element `vertex`")
        for each in elements[: last + 1]:
            limits.POINTS.check(each.rows, f"`{path}`, its element `{each.name[:40]}`,", InputError)
            least = each.least_bytes() if order else 2 * each.rows * len(each.properties) - 1
            if least > len(data) - at:
                raise ValueError(f"its {len(data)} bytes claim {each.rows} rows of `{each.name[:40]}`")
        before, vertices = elements[:last], elements[last]
        if order == "":
            file = BytesIO(data)
            file.seek(at)
            lines = read_lines(file)
            for each in before:
                next(islice(lines, each.rows, each.rows), None)
            points = read_numbers(_pick(lines, vertices), None, vertices.rows)
        else:
            for each in before:
                _, at = _read_rows(data, at, each, [])
            points, _ = _read_rows(data, at, vertices, vertices.axes())
        if len(points) != vertices.rows:
            raise ValueError(f"it holds {len(points)} vertices; expected {vertices.rows}")
        return points
    except (IndexError, ValueError, MemoryError, struct.error) as error:
        raise InputError(f"`{path}` is no readable .ply file of points x, y, z: {error}", hint=ANEW) from error


def _read_header(data: bytes) -> tuple[str, list[_Element], int]:
    """The byte order, empty for text; the elements; and the start of the first of them."""
    order: str | None = None
    elements: list[_Element] = []
    at = 0
    for line in data[: limits.POINT_HEADER_BYTES.value].splitlines(keepends=True):
        at += len(line)
        words = line.decode("latin-1").split()
        if words == ["end_header"]:
            if order is None:
                raise ValueError(f"its format is none of {', '.join(ORDERS)}")
            return order, elements, at
        if words[:1] == ["format"]:
            order = ORDERS.get(words[1])
        elif words[:1] == ["element"]:
            elements.append(_Element(words[1], whole_number(words[2])))
        elif words[:1] == ["property"]:
            if not elements or len(elements[-1].properties) == MOST_PROPERTIES:
                raise ValueError(f"it has a property without an element, or more than {MOST_PROPERTIES} of one")
            elements[-1].properties.append(_read_property(words, order or "<"))
    raise ValueError(f"no end_header in its first {limits.POINT_HEADER_BYTES.value} bytes")


def _read_property(words: list[str], order: str) -> _Property:
    listed = words[1:2] == ["list"]
    kinds = [TYPES.get(word) for word in words[1 + listed : -1]]
    if len(kinds) != 1 + listed or None in kinds or (listed and kinds[0] in ("f4", "f8")):
        raise ValueError(f"its property `{' '.join(words)[:60]}` is none of this format")
    value, length = np.dtype(f"{order}{kinds[-1]}"), np.dtype(f"{order}{kinds[0]}")
    return _Property(words[-1], value, length if listed else None)


def _pick(lines: Iterator[bytes], vertices: _Element) -> Iterator[bytes]:
    """x, y and z of each line."""
    axes = vertices.axes()
    for line in islice(lines, vertices.rows):
        words = line.split()
        if vertices.lists:
            firsts, at = [], 0
            for each in vertices.properties:
                firsts.append(at)
                at += 1 if each.length is None else 1 + whole_number(words[at].decode("latin-1"))
            places = [firsts[axis] for axis in axes]
        else:
            places, at = axes, len(vertices.properties)
        if at != len(words):
            raise ValueError(f"a vertex has {len(words)} numbers; expected {at}")
        yield b" ".join([words[place] for place in places])


def _read_rows(data: bytes, at: int, element: _Element, axes: list[int]) -> tuple[NDArray[np.float64], int]:
    """The values of the properties `axes`, (rows, axes), and the end of the element."""
    if not element.rows or not element.properties:
        return np.empty((0, len(axes))), at
    table = _at_once(data, at, element)
    if table is None:
        return _walk(data, at, element, axes)
    columns = [table[str(axis)].astype(np.float64) for axis in axes]
    return np.stack(columns, axis=1) if columns else np.empty((0, 0)), at + table.nbytes


def _at_once(data: bytes, at: int, element: _Element) -> NDArray[Any] | None:
    """All rows, if they have the same size; else None."""
    columns: list[Any] = []
    lengths: dict[str, int] = {}
    size = 0
    for index, each in enumerate(element.properties):
        if each.length is None:
            columns.append((str(index), each.kind))
            size += each.kind.itemsize
            continue
        name = f"length {index}"
        lengths[name] = int(np.frombuffer(data, each.length, 1, at + size)[0])
        size += each.length.itemsize + lengths[name] * each.kind.itemsize
        if lengths[name] < 0 or at + size > len(data):
            raise ValueError(f"it ends within a list of {lengths[name]}")
        columns += [(name, each.length), (str(index), each.kind, (lengths[name],))]
    if element.rows * size > len(data) - at:
        if lengths:
            return None
        raise ValueError(f"it ends within the rows of `{element.name[:40]}`")
    table = np.frombuffer(data, np.dtype(columns), element.rows, at)
    return table if all((table[name] == length).all() for name, length in lengths.items()) else None


def _walk(data: bytes, at: int, element: _Element, axes: list[int]) -> tuple[NDArray[np.float64], int]:
    if element.rows * element.lists > limits.POINTS.value:
        raise ValueError(f"it has more than {limits.POINTS.value} lists of different lengths before or in its vertices")
    values = np.empty((element.rows, len(axes)))
    places = {axis: place for place, axis in enumerate(axes)}
    steps = [
        (
            struct.Struct(_code(each.length or each.kind)),
            0 if each.length is None else each.kind.itemsize,
            places.get(index),
        )
        for index, each in enumerate(element.properties)
    ]
    for row in range(element.rows):
        for value, size, place in steps:
            (number,) = value.unpack_from(data, at)
            if number < 0 and size:
                raise ValueError(f"it has a list of {number}")
            if place is not None:
                values[row, place] = number
            at += value.size + number * size if size else value.size
    if at > len(data):
        raise ValueError(f"it ends within the rows of `{element.name[:40]}`")
    return values, at


def _code(kind: np.dtype[Any]) -> str:
    """The `struct` code of a numpy type."""
    return f"{'>' if kind.str[0] == '>' else '<'}{np.dtype(kind.str[1:]).char}"
