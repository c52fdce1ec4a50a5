"""A file that is hashed once and read later: what is read is compared with what was hashed, piece by piece.

Another file under the same name, or other bytes in the same file, are noticed wherever they are read.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from advcal_edge import limits
from advcal_edge.errors import BundleError
from advcal_edge.storage import open_regular

PIECE = limits.MIB
"""Bytes with a hash of their own, and in memory while a file is read."""


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file with the hash of its bytes and of each of their pieces; what `open` gives is exactly these bytes."""

    path: Path
    sha256: str
    size: int
    pieces: tuple[bytes, ...]

    @classmethod
    def of(cls, path: Path) -> CheckedFile:
        """Hash a file.

        Raises:
            BundleError: missing, unreadable, no regular file, or larger than `LISTED_BYTES`.
        """
        whole, pieces, size = hashlib.sha256(), [], 0
        with open_regular(path, BundleError) as file:
            limits.LISTED_BYTES.check(os.fstat(file.fileno()).st_size, f"`{path}`", BundleError)
            while piece := file.read(PIECE):
                whole.update(piece)
                pieces.append(hashlib.sha256(piece).digest())
                size += len(piece)
                limits.LISTED_BYTES.check(size, f"`{path}`", BundleError)  # it may grow meanwhile
        return cls(path, whole.hexdigest(), size, tuple(pieces))

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Read the file, from anywhere in it; a read gives the bytes that were hashed, or ends in an error.

        Raises:
            BundleError: missing or unreadable, or other bytes than those that were hashed.
        """
        with open_regular(self.path, BundleError) as file, _Pieces(file, self) as pieces:
            yield cast("BinaryIO", io.BufferedReader(pieces, 64 * 1024))

    def check_piece(self, index: int, piece: bytes) -> None:
        """Compare the bytes of one piece with those that were hashed.

        Raises:
            BundleError: they differ.
        """
        if hashlib.sha256(piece).digest() != self.pieces[index]:
            raise BundleError(f"`{self.path}` was changed or replaced while it was read", hint="run the command again")


class _Pieces(io.RawIOBase):
    """Reads a file by pieces, each compared when it is read; one of them is in memory."""

    def __init__(self, file: BinaryIO, checked: CheckedFile) -> None:
        self._file, self._checked = file, checked
        self._at, self._index, self._piece = 0, -1, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._checked.size}[whence]
        if base + offset < 0:
            raise ValueError(f"a place {base + offset} before the start of a file")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        if self._at >= self._checked.size:
            return 0
        index, start = divmod(self._at, PIECE)
        part = self._read(index)[start : start + len(view)]
        view[: len(part)] = part
        self._at += len(part)
        return len(part)

    def _read(self, index: int) -> bytes:
        if index != self._index:
            self._file.seek(index * PIECE)
            piece = self._file.read(min(PIECE, self._checked.size - index * PIECE))
            self._checked.check_piece(index, piece)
            self._index, self._piece = index, piece
        return self._piece
