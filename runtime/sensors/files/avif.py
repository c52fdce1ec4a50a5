"""Boxes of an AVIF or HEIF file: which of the two, its size, and how it was held (ISO/IEC 23000-22, 23008-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

STILL, MOVING = b"avif", b"avis"
HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
MOST_BOXES = 4096

TURNED = {
    (0, None): 1, (0, 0): 4, (0, 1): 2, (1, None): 8, (1, 0): 5, (1, 1): 7,
    (2, None): 3, (2, 0): 2, (2, 1): 4, (3, None): 6, (3, 0): 7, (3, 1): 5,
}  # fmt: skip
"""Orientation by the quarter turns against the clock, and the mirror that follows them: 0 swaps top and bottom."""


@dataclass(slots=True)
class Avif:
    """What the boxes of a file say."""

    width: int = 0
    height: int = 0
    orientation: int = 1
    moving: bool = False
    complete: bool = True


def brand(data: bytes) -> bytes:
    """The first brand of a file in boxes, which says of what kind it is; empty if there is none."""
    return data[8:12] if data[4:8] == b"ftyp" else b""


def is_avif(data: bytes) -> bool:
    """Is a file an AVIF picture, by the brands it names?"""
    first = brand(data)
    if first in (STILL, MOVING):
        return True
    (length,) = struct.unpack_from(">I", data) if len(data) >= 4 else (0,)
    return first in HEIF and STILL in _brands(data[16 : min(length, 256)])


def read_avif(data: bytes) -> Avif:
    """The boxes of an AVIF file.

    Raises:
        ValueError, struct.error: no size, or boxes that do not fit into each other.
    """
    avif = Avif(moving=brand(data) == MOVING)
    turns, mirror, end = 0, None, 0
    for kind, start, stop in _boxes(data, 0, len(data)):
        end = stop
        if kind != b"meta":
            continue
        for inner, at, until in _boxes(data, start + 4, stop):
            if inner != b"iprp":
                continue
            for box, first, last in _boxes(data, at, until):
                if box != b"ipco":
                    continue
                for item, here, _ in _boxes(data, first, last):
                    if item == b"ispe":
                        width, height = struct.unpack_from(">II", data, here + 4)
                        if width * height > avif.width * avif.height:  # others are those of tiles or thumbnails
                            avif.width, avif.height = width, height
                    elif item == b"irot":
                        turns = data[here] & 3
                    elif item == b"imir":
                        mirror = data[here] & 1
    avif.orientation = TURNED[turns, mirror]
    avif.complete = end == len(data)
    if not avif.width:
        raise ValueError("no size")
    return avif


def _brands(words: bytes) -> list[bytes]:
    return [words[at : at + 4] for at in range(0, len(words) - 3, 4)]


def _boxes(data: bytes, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, first byte and end of each box between two places; one that reaches beyond them ends the list."""
    for _ in range(MOST_BOXES):
        if start + 8 > stop:
            return
        length, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, start + 8)
            head = 16
        elif length == 0:
            length = stop - start
        if length < head or start + length > stop:
            return
        yield kind, start + head, start + length
        start += length
