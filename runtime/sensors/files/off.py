"""Meshes from .off files, Geomview's object file format in text: vertices x, y, z, then polygons.

The counts follow the keyword on the next line or on its own, with or without a space: ModelNet has `OFF490 518 0`. What
follows the coordinates of a vertex or the corners of a polygon is colour, and ignored.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.mesh import Mesh, add_polygon
from advcal_edge.runtime.sensors.files.sensor_file import open_sensor_file
from advcal_edge.runtime.sensors.files.text_table import ANEW, read_lines, read_numbers, whole_number

KEYWORD = b"OFF"
LEAST_BYTES = 6
"""Of a line, even of the last one: `0 0 0` with its end, or `2 0 1`."""


def read_off(path: Path) -> Mesh:
    """The mesh in a file.

    Raises:
        InputError: the file is broken, truncated, or has no surface.
    """
    where = f"`{path}`"
    corners = array("i")
    with open_sensor_file(path) as file:
        try:
            size = file.seek(0, 2)
            file.seek(0)
            lines = (line for line in read_lines(file) if not line.startswith(b"#"))
            vertices, faces = _read_counts(lines)
            limits.POINTS.check(vertices, where, InputError)
            limits.TRIANGLES.check(faces, where, InputError)
            if LEAST_BYTES * (vertices + faces) > size:
                raise ValueError(f"its {size} bytes claim {vertices} vertices and {faces} faces")
            points = read_numbers(islice(lines, vertices), None, vertices)
            if points.shape[0] < vertices or points.shape[1] < 3:
                raise ValueError(f"its vertices are {points.shape}; expected {vertices} of x, y and z")
            found = 0
            for found, line in enumerate(islice(lines, faces), 1):
                words = line.split()
                count = whole_number(words[0].decode("latin-1"))
                polygon = [int(word) for word in words[1 : 1 + count]]
                if len(polygon) < count:
                    raise ValueError(f"face {found} has {len(polygon)} corners; expected {count}")
                add_polygon(corners, polygon, where)
            if found < faces:
                raise ValueError(f"it holds {found} faces; expected {faces}")
            return Mesh.of(points[:, :3], corners)
        except (IndexError, ValueError, OverflowError, MemoryError) as error:
            raise InputError(f"`{path}` is no readable .off file: {error}", hint=ANEW) from error


def _read_counts(lines: Iterator[bytes]) -> tuple[int, int]:
    """Numbers of vertices and of faces; that of edges may follow."""
    words = next(lines, b"").removeprefix(KEYWORD).split() or next(lines, b"").split()
    if len(words) not in (2, 3):
        raise ValueError("its header has no numbers of vertices, faces and edges")
    vertices, faces, *_ = (whole_number(word.decode("latin-1")) for word in words)
    return vertices, faces
