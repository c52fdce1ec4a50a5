"""Read arrays from untrusted npz archives: no pickle, and sizes are checked before anything is unpacked."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import AdvcalError, first_line
from advcal_edge.limits import Limit
from advcal_edge.npy_header import read_header

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
SMALL = 64 * limits.MIB  # bytes unpacked, below which any ratio is harmless: constant arrays compress very well
DIRECTORY_BYTES = limits.MIB  # of the list of arrays at the end, which `zipfile` turns into ten times that in memory
END, END_BYTES, LOCATOR, LOCATOR_BYTES = b"PK\5\6", 22, b"PK\6\7", 20
LONGEST_COMMENT = 2**16


@dataclass(frozen=True, slots=True, eq=False)
class Npz:
    """An archive opened by `open_npz`."""

    archive: zipfile.ZipFile

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays."""
        return tuple(name.removesuffix(".npy") for name in self.archive.namelist())

    def array(self, name: str) -> NDArray[Any]:
        """Read one array as a whole."""
        with self.stream(name) as (stream, shape, dtype):
            size = math.prod(shape) * dtype.itemsize
            data = stream.read(size)
            if len(data) != size or stream.read(1):
                raise ValueError(f"`{name}` holds other than the {size} bytes that its shape {shape} of {dtype} takes")
            return np.frombuffer(data, dtype).reshape(shape)

    @contextmanager
    def stream(self, name: str) -> Iterator[tuple[IO[bytes], tuple[int, ...], np.dtype[Any]]]:
        """Open one array to be read in parts: its bytes from the first value on, its shape and its dtype.

        Raises:
            KeyError: no such array.
            ValueError: it holds objects, or is not in row-major order.
        """
        member = self.archive.getinfo(f"{name}.npy")
        with self.archive.open(member) as stream:
            shape, dtype, columns_first = read_header(stream, widest=member.file_size)
            if columns_first and len(shape) > 1:
                raise ValueError(f"`{name}` is an array {shape} of {dtype}; expected plain numbers, row by row")
            if math.prod(shape) * dtype.itemsize > member.file_size:
                raise ValueError(f"`{name}` claims a shape {shape} of {dtype} in {member.file_size} bytes")
            yield stream, shape, dtype

    def rows(self, name: str, size: int, n: int) -> Iterator[NDArray[Any]]:
        """The first `n` rows of one array, `size` at a time; the rest is not unpacked.

        Raises:
            KeyError: no such array.
            ValueError: it ends before them, holds objects, or is not in row-major order.
        """
        with self.stream(name) as (stream, shape, dtype):
            width = math.prod(shape[1:]) * dtype.itemsize
            for start in range(0, n, size):
                count = min(size, n - start)
                content = stream.read(count * width)
                if len(content) != count * width:
                    raise ValueError(f"`{name}` ends after {start} of {n} rows")
                yield np.frombuffer(content, dtype).reshape(count, *shape[1:])


@contextmanager
def open_npz(file: BinaryIO, where: str, limit: Limit, kind: type[AdvcalError], *, hint: str) -> Iterator[Npz]:
    """Open an archive of at most `limit` bytes unpacked; any failure inside the block becomes one error.

    Raises:
        kind: not an archive, too large, compressed more than `SAMPLES_RATIO` times, or damaged; begins with `where`.
    """
    try:
        _check_directory(file)
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            limit.check(sum(member.file_size for member in members), f"{where}, unpacked,", kind)
            for member in members:
                if member.compress_type not in METHODS or member.flag_bits & 1:
                    raise ValueError(f"`{member.filename}` is encrypted or packed by another method than deflate")
                if member.file_size > SMALL:
                    ratio = member.file_size / max(member.compress_size, 1)
                    limits.SAMPLES_RATIO.check(ratio, f"`{member.filename[:40]}` in {where}", kind)
            yield Npz(archive)
    except AdvcalError:
        raise
    except Exception as error:  # zip, zlib and numpy may raise almost anything
        raise kind(f"{where} is no readable archive of arrays: {first_line(error)}", hint=hint) from error


def _check_directory(file: BinaryIO) -> None:
    """Refuse an archive that lists too many arrays, before the list is read.

    Raises:
        ValueError: the list is too long, or its length is hidden in an extension for archives beyond 4 GiB.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - LOCATOR_BYTES - END_BYTES - LONGEST_COMMENT))
    tail = file.read()
    at = tail.rfind(END)
    length = int.from_bytes(tail[at + 12 : at + 16], "little")
    hidden = size < 2**32 and tail[max(0, at - LOCATOR_BYTES) : at].startswith(LOCATOR)
    if at >= 0 and (hidden or length > DIRECTORY_BYTES):
        raise ValueError(f"its list of arrays takes {length:,} bytes; expected at most {DIRECTORY_BYTES:,}")
    file.seek(0)
