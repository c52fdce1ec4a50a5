"""Size and format of an image file, read from its header before anything is decoded.

A decoder trusts the header: a file of 40 bytes can claim gigabytes, and a truncated one decodes to half an image.
Headers that a decoder could read differently, with gaps between segments or a size given twice, are rejected.
Layouts follow the PNG, JFIF, BMP (BITMAPINFOHEADER), WebP and TIFF 6.0 specifications.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MOST_CHUNKS = 2**18
"""Of a png; one of the largest images, in the usual chunks of 8 KiB, has a quarter of them."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Format, size in pixels, maximum bytes of a decoded pixel, and whether the file is complete."""

    kind: str
    width: int
    height: int
    depth: int
    complete: bool


def read_image_header(data: bytes) -> ImageHeader | None:
    """The header of a png, jpeg, bmp, webp or tiff file; None if it is none of them or its header is broken."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return ImageHeader("png", *_png_size(data), depth=8, complete=_png_is_whole(data))
        if data.startswith(b"\xff\xd8\xff"):
            whole = data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")  # a thumbnail has its own end marker
            return ImageHeader("jpeg", *_jpeg_size(data), depth=4, complete=whole)
        if data.startswith(b"BM"):
            length, header = struct.unpack_from("<I8xI", data, 2)
            width, height = struct.unpack_from("<ii", data, 18)
            if header < 40:
                raise ValueError("a header of OS/2, whose sizes have 16 bits")
            return ImageHeader(
                "bmp", abs(width), abs(height), 4, complete=len(data) >= length
            )  # negative: top row first
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            (length,) = struct.unpack_from("<I", data, 4)
            return ImageHeader("webp", *_webp_size(data), depth=4, complete=len(data) >= length + 8)
        if data[:4] in (b"II*\0", b"MM\0*"):
            return ImageHeader("tiff", *_tiff_size(data), complete=True)  # its decoder rejects missing strips
    except (struct.error, IndexError, KeyError, ValueError):
        return None
    return None


def _png_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    if data[8:16] != b"\0\0\0\x0dIHDR":
        raise ValueError("the header is not the first chunk")
    return width, height


def _png_is_whole(data: bytes) -> bool:
    """Is every chunk up to the last inside the file? A decoder allocates the memory that a chunk claims."""
    at = 8
    for _ in range(MOST_CHUNKS):
        if at + 12 > len(data):
            return False
        length, kind = struct.unpack_from(">I4s", data, at)
        at += 12 + length
        if at > len(data):
            return False
        if kind == b"IEND":
            return True
    return False


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while True:
        lead, marker, length = struct.unpack_from(">BBH", data, at)
        if lead != 0xFF or marker < 0xC0 or 0xD0 <= marker <= 0xDA or length < 2:
            raise ValueError("what follows is no segment")
        if marker == 0xFF:  # padding
            at += 1
        elif marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame, not a table
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        else:
            at += 2 + length


def _webp_size(data: bytes) -> tuple[int, int]:
    chunk = data[12:16]
    if chunk == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


WIDTH, HEIGHT, BITS, SAMPLES = 256, 257, 258, 277
"""Tags of a tiff."""


def _tiff_size(data: bytes) -> tuple[int, int, int]:
    """Width, height, and bytes of a pixel."""
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, directory)
    tags: dict[int, int] = {BITS: 1, SAMPLES: 1}
    seen: set[int] = set()
    for at in range(directory + 2, directory + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(order + "HHI", data, at)
        if tag not in (WIDTH, HEIGHT, BITS, SAMPLES):
            continue
        if kind not in (3, 4) or tag in seen:
            raise ValueError("a size of another type, or two")
        seen.add(tag)
        form = f"{order}{min(count, 8)}{'H' if kind == 3 else 'I'}"
        if struct.calcsize(form) > 4:
            (at,) = struct.unpack_from(order + "8xI", data, at)
            at -= 8
        tags[tag] = max(struct.unpack_from(form, data, at + 8))
    return tags[WIDTH], tags[HEIGHT], max(1, tags[BITS] // 8) * max(1, tags[SAMPLES])
