"""What an image file claims about itself, read from its header before anything is decoded.

A decoder trusts the header: a file of 40 bytes can claim gigabytes, and a truncated one decodes to half a picture.
Layouts follow the PNG, JFIF, BMP (BITMAPINFOHEADER), WebP and TIFF 6.0 specifications.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claims:
    """Format, size in pixels, and whether the file reaches its own end."""

    kind: str
    width: int
    height: int
    complete: bool


def read_claims(data: bytes) -> Claims | None:
    """The claims of a png, jpeg, bmp, webp or tiff file; None if it is none of them or its header is broken."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return Claims("png", *_png_size(data), complete=data.find(b"IEND", 24) > 0)
        if data.startswith(b"\xff\xd8\xff"):
            return Claims("jpeg", *_jpeg_size(data), complete=data.rfind(b"\xff\xd9") > 0)
        if data.startswith(b"BM"):
            (length,) = struct.unpack_from("<I", data, 2)
            width, height = struct.unpack_from("<ii", data, 18)
            return Claims("bmp", abs(width), abs(height), complete=len(data) >= length)  # negative: top row first
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            (length,) = struct.unpack_from("<I", data, 4)
            return Claims("webp", *_webp_size(data), complete=len(data) >= length + 8)
        if data[:4] in (b"II*\0", b"MM\0*"):
            return Claims("tiff", *_tiff_size(data), complete=True)  # its decoder refuses missing strips
    except (struct.error, IndexError, KeyError):
        return None
    return None


def _png_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while True:
        marker, length = struct.unpack_from(">xBH", data, at)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame, not a table
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + length if length else len(data)


def _webp_size(data: bytes) -> tuple[int, int]:
    chunk = data[12:16]
    if chunk == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _tiff_size(data: bytes) -> tuple[int, int]:
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, directory)
    tags: dict[int, int] = {}
    for at in range(directory + 2, directory + 2 + 12 * entries, 12):
        tag, kind = struct.unpack_from(order + "HH", data, at)
        (tags[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at + 8)
    return tags[256], tags[257]
