"""The first bytes of a file, by which its format is known; names and suffixes prove nothing."""

from __future__ import annotations

import os
from pathlib import Path

from advcal_edge.errors import InputError
from advcal_edge.runtime.preprocess.reader import MAX_BYTES

NPY = b"\x93NUMPY"
HDF5 = b"\x89HDF\r\n\x1a\n"


def read_magic(path: str | os.PathLike[str], largest: int = MAX_BYTES) -> bytes:
    """The first 192 bytes of a file of at most `largest` bytes.

    Raises:
        InputError: missing, unreadable or too large.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > largest:
            raise InputError(f"`{path}` has {size} bytes; expected at most {largest}")
        with path.open("rb") as file:
            return file.read(192)
    except OSError as error:
        raise InputError(f"cannot read `{path}`: {error.strerror or error}") from error
