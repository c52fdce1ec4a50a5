"""Meshes from .obj files of Wavefront: lines `v` and `f` alone; materials, textures, normals and groups are ignored."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.mesh import Mesh, add_polygon
from advcal_edge.runtime.sensors.files.sensor_file import open_sensor_file
from advcal_edge.runtime.sensors.files.text_table import ANEW, read_lines

KEYWORDS = (b"v ", b"vn ", b"vt ", b"f ", b"o ", b"g ", b"s ", b"mtllib ", b"usemtl ")


def is_obj(path: Path, head: bytes) -> bool:
    """Does a file begin like one, after its comments? Those longer than `head` may hide it; then its name decides."""
    lines = [line.strip() for line in head.splitlines()]
    first = next((line for line in lines if line and not line.startswith(b"#")), None)
    return path.suffix.lower() == ".obj" if first is None else (first + b" ").startswith(KEYWORDS)


def read_obj(path: Path) -> Mesh:
    """The mesh in a file.

    Raises:
        InputError: the file is broken, truncated, or has no surface.
    """
    where, most = f"`{path}`", 3 * limits.POINTS.value
    coordinates, corners = array("d"), array("i")
    with open_sensor_file(path) as file:
        try:
            for line in read_lines(file):
                keyword, *words = line.split()
                if keyword == b"v":
                    coordinates.extend(map(float, words[:3]))
                    if len(coordinates) % 3 or not words:
                        raise ValueError(f"a vertex has {len(words)} numbers; expected x, y and z")
                    if len(coordinates) > most:
                        limits.POINTS.check(len(coordinates) // 3, where, InputError)
                elif keyword == b"f":
                    vertices = len(coordinates) // 3
                    add_polygon(corners, [_corner(word, vertices) for word in words], where)
            return Mesh.of(np.frombuffer(coordinates, np.float64).reshape(-1, 3), corners)
        except (ValueError, OverflowError, MemoryError) as error:
            raise InputError(f"`{path}` is no readable .obj file: {error}", hint=ANEW) from error


def _corner(word: bytes, vertices: int) -> int:
    """The vertex of `7`, `7/1/3` or `7//3`, counted from 0; files count from 1, or back from the last one."""
    index = int(word.partition(b"/")[0])
    if index == 0:
        raise ValueError("a face has the corner 0; they count from 1")
    return index - 1 if index > 0 else vertices + index
