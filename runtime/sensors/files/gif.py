"""Blocks of a GIF file: its size, its number of pictures, and whether it is whole (GIF89a specification)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = (b"GIF87a", b"GIF89a")
MOST_BLOCKS = 2**20
EXTENSION, PICTURE, TRAILER = 0x21, 0x2C, 0x3B


@dataclass(slots=True)
class Gif:
    """What the blocks of a file say."""

    width: int
    height: int
    frames: int = 0
    complete: bool = False


def read_gif(data: bytes) -> Gif:
    """The blocks of a file that begins as a GIF.

    Raises:
        ValueError, struct.error, IndexError: no block where one should begin.
    """
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    gif, at = Gif(width, height), 13 + _palette(flags)
    for _ in range(MOST_BLOCKS):
        if at >= len(data):
            return gif
        kind = data[at]
        if kind == TRAILER:
            gif.complete = gif.frames > 0
            return gif
        if kind == PICTURE:
            left, top, across, down, flags = struct.unpack_from("<HHHHB", data, at + 1)
            if left + across > width or top + down > height:
                raise ValueError("a picture larger than the frame")
            gif.frames += 1
            at += 11 + _palette(flags)
        elif kind == EXTENSION:
            at += 2
        else:
            raise ValueError("what follows is no block")
        while at < len(data) and data[at]:  # parts, each behind its length, up to an empty one
            at += 1 + data[at]
        at += 1
    return gif


def _palette(flags: int) -> int:
    """Bytes of the palette that a header announces."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
