"""Chunks of a PNG file: its size, how its camera was held, its animation, and whether it is whole (ISO/IEC 15948)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

MAGIC = b"\x89PNG\r\n\x1a\n"
MOST_CHUNKS = 2**18
"""One of the largest images, in the usual chunks of 8 KiB, has a quarter of them."""

XMP = b"XML:com.adobe.xmp"
LARGEST_TEXT = 2**22


@dataclass(slots=True)
class Png:
    """What the chunks of a file say."""

    width: int
    height: int
    exif: bytes | None = None
    xmp: bytes | None = None
    frames: int = 1
    complete: bool = False


def read_png(data: bytes) -> Png:
    """The chunks of a file that begins as a PNG; a decoder allocates what a chunk claims, so each must be inside.

    Raises:
        ValueError, struct.error: the header is not the first chunk.
    """
    width, height = struct.unpack_from(">II", data, 16)
    if data[8:16] != b"\0\0\0\x0dIHDR":
        raise ValueError("the header is not the first chunk")
    png, at = Png(width, height), 8
    for _ in range(MOST_CHUNKS):
        if at + 12 > len(data):
            return png
        length, kind = struct.unpack_from(">I4s", data, at)
        start, at = at + 8, at + 12 + length
        if at > len(data):
            return png
        if kind == b"eXIf":
            png.exif = png.exif or data[start : start + length]
        elif kind == b"iTXt" and data.startswith(XMP, start):
            png.xmp = png.xmp or _text(data[start : start + length])
        elif kind == b"acTL" and length >= 4:
            (png.frames,) = struct.unpack_from(">I", data, start)
        elif kind == b"IEND":
            png.complete = True
            return png
    return png


def _text(chunk: bytes) -> bytes:
    """The text of a chunk iTXt: keyword, two bytes on its compression, language, translated keyword, text."""
    _, _, rest = chunk.partition(b"\0")
    packed, words = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
    text = words[2] if len(words) == 3 else b""
    try:
        return zlib.decompressobj().decompress(text, LARGEST_TEXT) if packed else text
    except zlib.error:
        return b""
