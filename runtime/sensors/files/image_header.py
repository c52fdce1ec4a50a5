"""Size and format of an image file, read from its header before anything is decoded.

A decoder trusts the header: a file of 40 bytes can claim gigabytes, and a truncated one decodes to half an image.
Headers that a decoder could read differently, with gaps between segments or a size given twice, are rejected.
Layouts follow the PNG, JFIF, BMP (BITMAPINFOHEADER), WebP, GIF, AVIF, Netpbm and TIFF 6.0 specifications; those with
parts of their own have a file of their own here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from advcal_edge.runtime.sensors.files import gif, netpbm, png
from advcal_edge.runtime.sensors.files.avif import is_avif, read_avif
from advcal_edge.runtime.sensors.files.gif import read_gif
from advcal_edge.runtime.sensors.files.jpeg import read_jpeg
from advcal_edge.runtime.sensors.files.netpbm import Netpbm, read_netpbm
from advcal_edge.runtime.sensors.files.orientation import UPRIGHT, read_orientation
from advcal_edge.runtime.sensors.files.png import read_png
from advcal_edge.runtime.sensors.files.tiff import Tiff, read_tiff


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Format, size in pixels, maximum bytes of a decoded pixel, and whether the file is complete."""

    kind: str
    width: int
    height: int
    depth: int
    complete: bool
    orientation: int = UPRIGHT
    """How the camera was held, of formats whose decoder leaves the picture as stored."""
    frames: int = 1
    radiometric: str = ""
    """Maker of a camera that stores temperatures beside its picture."""
    tiff: Tiff | None = None
    netpbm: Netpbm | None = None


def read_image_header(data: bytes) -> ImageHeader | None:
    """The header of a file of one of the formats that are read; None if it is none of them or its header is broken."""
    try:
        return _read(data)
    except (struct.error, IndexError, KeyError, ValueError, OverflowError):
        return None


def _read(data: bytes) -> ImageHeader | None:
    if data.startswith(png.MAGIC):
        p = read_png(data)
        turn = read_orientation(p.exif, p.xmp)
        return ImageHeader("png", p.width, p.height, 8, p.complete, turn, p.frames)
    if data.startswith(b"\xff\xd8\xff"):
        j = read_jpeg(data)
        turn, frames = read_orientation(j.exif, j.xmp), 2 if j.followed else 1
        return ImageHeader("jpeg", j.width, j.height, 4, j.complete, turn, frames, j.radiometric)
    if data.startswith(b"BM"):
        return _read_bmp(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _read_webp(data)
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        t = read_tiff(data)
        page = (t.whole or t.pages)[0]
        return ImageHeader("tiff", page.width, page.height, page.depth, t.complete, tiff=t)
    if data.startswith(gif.MAGIC):
        g = read_gif(data)
        return ImageHeader("gif", g.width, g.height, 4, g.complete, frames=max(1, g.frames))
    if data.startswith(netpbm.MAGIC):
        n = read_netpbm(data)
        depth = n.channels * (4 if n.kind == "pfm" else 2)
        return ImageHeader(n.kind, n.width, n.height, depth, len(data) >= n.start + n.needed, netpbm=n)
    if is_avif(data):
        a = read_avif(data)
        return ImageHeader("avif", a.width, a.height, 8, a.complete, a.orientation, 2 if a.moving else 1)
    return None


def _read_bmp(data: bytes) -> ImageHeader:
    length, start, header = struct.unpack_from("<I4xII", data, 2)
    width, height = struct.unpack_from("<ii", data, 18)
    bits, packing = struct.unpack_from("<HI", data, 28)
    if header < 40:
        raise ValueError("a header of OS/2, whose sizes have 16 bits")
    width, height = abs(width), abs(height)  # a negative height: top row first
    needed = start + (width * bits + 31) // 32 * 4 * height if packing in (0, 3) else 0
    return ImageHeader("bmp", width, height, 4, complete=len(data) >= max(length, needed))


def _read_webp(data: bytes) -> ImageHeader:
    (length,) = struct.unpack_from("<I", data, 4)
    chunk, frames, exif, xmp = data[12:16], 1, None, None
    if chunk == b"VP8X":
        width, height = int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        at, stop, moving = 12, min(len(data), length + 8), 0
        while at + 8 <= stop:
            kind, size = struct.unpack_from("<4sI", data, at)
            body = data[at + 8 : at + 8 + size]
            at += 8 + size + size % 2
            moving += kind == b"ANMF"
            exif = exif or body if kind == b"EXIF" else exif
            xmp = xmp or body if kind == b"XMP " else xmp
        frames = max(1, moving)
    elif chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    turn = read_orientation(exif, xmp)
    frames = max(2, frames) if data.startswith(b"RIFF", length + 8) else frames  # another picture follows
    return ImageHeader("webp", width, height, 4, len(data) >= length + 8, turn, frames)
