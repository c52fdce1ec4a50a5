"""Chunks of a PNG file: its size, how its camera was held, its animation, and whether it is whole (ISO/IEC 15948)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

MAGIC = b"\x89PNG\r\n\x1a\n"
MOST_CHUNKS = 2**18
"""One of the largest images, in the usual chunks of 8 KiB, has a quarter of them."""

XMP = b"XML:com.adobe.xmp"
RAW_EXIF = b"Raw profile type exif\0"
"""Keyword under which ImageMagick kept EXIF before there was a chunk for it: in hexadecimal, after three lines."""

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
        elif kind in (b"tEXt", b"zTXt") and data.startswith(RAW_EXIF, start):
            png.exif = png.exif or _raw_exif(kind, data[start + len(RAW_EXIF) : start + length])
        elif kind == b"acTL" and length >= 4:
            (png.frames,) = struct.unpack_from(">I", data, start)
        elif kind == b"IEND":
            png.complete = True
            if data.startswith(MAGIC, at):  # another picture follows
                png.frames = max(2, png.frames)
            return png
    return png


def _text(chunk: bytes) -> bytes:
    """The text of a chunk iTXt: keyword, two bytes on its compression, language, translated keyword, text."""
    _, _, rest = chunk.partition(b"\0")
    packed, words = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
    text = words[2] if len(words) == 3 else b""
    return _unpack(text) if packed else text


def _raw_exif(kind: bytes, content: bytes) -> bytes:
    """The EXIF in what follows a keyword; a zTXt has a byte on its compression first."""
    lines = (_unpack(content[1:]) if kind == b"zTXt" else content).split(b"\n")[3:]
    try:
        return bytes.fromhex(b"".join(lines).decode("ascii"))
    except ValueError:
        return b""


def _unpack(text: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(text, LARGEST_TEXT)
    except zlib.error:
        return b""
