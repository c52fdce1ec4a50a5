"""Points from .ply files: the vertices of Greg Turk's polygon format, ascii or binary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import DependencyError, InputError

HEADER_BYTES = 65536


def read_ply(path: Path, most: int) -> NDArray[np.float64]:
    """The vertices (p, 3) of a file that claims at most `most`.

    Raises:
        InputError: the file is broken, truncated, or has no vertices with x, y, z.
        DependencyError: plyfile is not installed.
    """
    try:
        from plyfile import PlyData, PlyParseError
    except ImportError as error:
        raise DependencyError("plyfile", extra="sensors", purpose="reading .ply files") from error
    try:
        _check_claims(path, most)
        try:  # triangles are mapped at once; any other polygons are read one by one
            file = PlyData.read(path, known_list_len={"face": {"vertex_indices": 3, "vertex_index": 3}})
        except PlyParseError:
            file = PlyData.read(path)
        vertices = file["vertex"].data
        return np.stack([np.asarray(vertices[axis], np.float64) for axis in "xyz"], axis=1)
    except OSError as error:
        raise InputError(f"cannot read `{path}`: {error.strerror or error}") from error
    except (PlyParseError, KeyError, IndexError, MemoryError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"`{path}` is no readable .ply file of points x, y, z: {error}") from error


def _check_claims(path: Path, most: int) -> None:
    """The reader allocates what the header claims: so it may not claim more values than the file has bytes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        lines = [line.split() for line in file.read(HEADER_BYTES).splitlines()]
    if [b"end_header"] not in lines:
        raise ValueError(f"no end_header in its first {HEADER_BYTES} bytes")
    header = lines[: lines.index([b"end_header"])]
    count = values = 0
    for words in header:
        if words[:1] == [b"element"]:
            count = int(words[2])
            if not 0 <= count <= most:
                raise ValueError(f"it claims {count} x `{words[1].decode('ascii')}`; expected at most {most}")
        elif words[:1] == [b"property"]:
            values += count  # each takes a byte at the least, a list that of its length
    if values > size:
        raise ValueError(f"its {size} bytes claim {values} values")
