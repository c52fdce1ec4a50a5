"""Open sensor files: regular files only, bounded, with errors that say how to fix the problem."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from advcal_edge.errors import InputError
from advcal_edge.limits import SENSOR_BYTES, Limit
from advcal_edge.npy_header import MAGIC
from advcal_edge.storage import open_regular, read_open

NPY = MAGIC
HDF5 = b"\x89HDF\r\n\x1a\n"
MAGIC_BYTES = 192

AGAIN = "it was cut off or damaged on its way or while it was written; copy it again, or record it again"


@contextmanager
def open_sensor_file(path: Path, largest: Limit = SENSOR_BYTES) -> Iterator[BinaryIO]:
    """Open a sensor's file of at least one byte.

    Raises:
        InputError: missing, unreadable, empty, not a regular file, or larger than `largest`.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open_regular(path, InputError))
        except InputError as error:
            raise InputError(error.message, hint=mending(path)) from error
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise InputError(
                f"`{path}` is empty: it has 0 bytes",
                hint="the recorder wrote nothing, as on a full disk (`df -h`); record it again",
            )
        largest.check(size, f"`{path}`", InputError)
        try:
            yield file
        except OSError as error:
            raise InputError(f"cannot read `{path}`: {error.strerror or error}", hint=AGAIN) from error


def read_sensor_file(path: Path, largest: Limit = SENSOR_BYTES) -> bytes:
    """All bytes of a sensor's file.

    Raises:
        InputError: as for `open_sensor_file`.
    """
    with open_sensor_file(path, largest) as file:
        return read_open(file, path, largest, InputError)


def read_magic(path: Path, largest: Limit = SENSOR_BYTES) -> bytes:
    """The first `MAGIC_BYTES` of a sensor's file, which identify its format; names and suffixes are not trusted.

    Raises:
        InputError: as for `open_sensor_file`.
    """
    with open_sensor_file(path, largest) as file:
        return file.read(MAGIC_BYTES)


def quoted(path: Path) -> str:
    """A path quoted for a shell."""
    return shlex.quote(str(path))


def mending(path: Path) -> str:
    """How to fix a path that cannot be opened."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError, RuntimeError):
        if os.path.islink(path):
            return (
                f"the link leads to `{os.readlink(path)}`, which is not there; `ln -sfn FILE {quoted(path)}` mends it"
            )
        return f"`ls {quoted(_there(path))}` shows what is there"
    if stat.S_ISDIR(mode):
        return f"name the files in it: `{quoted(path)}/*`"
    if not stat.S_ISREG(mode):
        return "record from it into a file, and give that file"
    return f"`chmod u+r {quoted(path)}` lets you read it"


def _there(path: Path) -> Path:
    """The nearest existing parent folder of a path."""
    return next((parent for parent in path.parents if os.path.isdir(parent)), Path("."))
