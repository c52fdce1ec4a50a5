"""Segments of a JPEG file: its size, how it was held, whether it is whole, and what lies beside the picture.

A camera puts thumbnails, other pictures and temperatures into the segments before the picture; all are skipped by
their length, so none is taken for the picture (ITU-T T.81, annex B).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

START, END, SCAN = 0xD8, 0xD9, 0xDA
EXIF, XMP, FLIR, PICTURES = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"FLIR\0", b"MPF\0"

MOST_SEGMENTS = 2**16
RAW_SEGMENTS = 2**16
"""Bytes of DJI's segments APP3, in which its cameras store temperatures; nothing else fills them."""

_MARKER = re.compile(rb"\xff[^\0\xff\xd0-\xd7]", re.DOTALL)


@dataclass(slots=True)
class Jpeg:
    """What the segments of a file say."""

    width: int = 0
    height: int = 0
    exif: bytes | None = None
    xmp: bytes | None = None
    complete: bool = False
    followed: bool = False
    """Another picture follows, and no index of several pictures announces it: a film of pictures."""
    radiometric: str = ""
    """Maker of the camera, if temperatures are stored beside the picture."""


def read_jpeg(data: bytes) -> Jpeg:
    """The segments of a file that begins as a JPEG.

    Raises:
        ValueError, struct.error: what should be a segment is none.
    """
    jpeg, at, indexed, raw = Jpeg(), 2, False, 0
    for _ in range(MOST_SEGMENTS):
        if jpeg.width and at + 2 > len(data):
            return jpeg  # cut off after the size
        lead, marker = struct.unpack_from(">BB", data, at)
        if lead == 0xFF and marker == 0xFF:  # padding
            at += 1
            continue
        if lead != 0xFF or marker < 0xC0 or 0xD0 <= marker <= START:
            raise ValueError("what follows is no segment")
        if marker == END:
            jpeg.complete = jpeg.width > 0
            jpeg.followed = not indexed and data[at + 2 : at + 5] == b"\xff\xd8\xff"
            if raw >= RAW_SEGMENTS and jpeg.exif and b"DJI" in jpeg.exif:
                jpeg.radiometric = "DJI"
            return jpeg
        if jpeg.width and at + 4 > len(data):
            return jpeg
        (length,) = struct.unpack_from(">H", data, at + 2)
        if length < 2:
            raise ValueError("a segment shorter than its length")
        body = data[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == SCAN:
            if not jpeg.width:
                raise ValueError("values before their size")
            found = _MARKER.search(data, at)
            at = found.start() if found else len(data)
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame, not a table
            if jpeg.width:
                raise ValueError("two sizes")
            jpeg.height, jpeg.width = struct.unpack_from(">HH", body, 1)
            if not jpeg.width:
                raise ValueError("no width")
        elif marker == 0xE1 and body.startswith(EXIF):
            jpeg.exif = jpeg.exif or body
        elif marker == 0xE1 and body.startswith(XMP):
            jpeg.xmp = jpeg.xmp or body
        elif marker == 0xE1 and body.startswith(FLIR):
            jpeg.radiometric = "FLIR"
        elif marker == 0xE2 and body.startswith(PICTURES):
            indexed = True
        elif marker == 0xE3:
            raw += len(body)
    return jpeg
