"""Formats of films, known by their first bytes, and what each tells of its length.

Playlists, which name other files, are none of them: they never reach a decoder.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import BinaryIO

UNFINISHED = (0, 0xFFFFFFFF)
"""Sizes that recorders write first, and mend when they stop."""

LOOKED_AT = 2**18
"""Bytes at the start and at the end of a film in which its codec is named."""


@dataclass(frozen=True, slots=True)
class FilmKind:
    """A format of films."""

    name: str
    has_stamps: bool = True
    """False for bare streams of a codec: their frames have no time."""
    counts: bool = False
    """Does its header count the frames? In other formats a count is a guess from rate and duration."""
    end: bytes = b""
    """Bytes with which a whole file ends, but for padding."""


MP4 = FilmKind("MP4", counts=True)
AVI = FilmKind("AVI", counts=True)
MATROSKA, WEBM = FilmKind("Matroska"), FilmKind("WebM")
TIFF, WEBP = FilmKind("TIFF", has_stamps=False), FilmKind("animated WebP")
H264, H265 = FilmKind("bare H.264 stream", has_stamps=False), FilmKind("bare H.265 stream", has_stamps=False)

FORMATS = "mp4, mov, avi, mkv, webm, mpeg, ts, flv, wmv, ivf, y4m, gif, webp, apng, or bare h264, h265 and mjpeg"

_STARTS: tuple[tuple[bytes, FilmKind], ...] = (
    (rb"....(?:ftyp|moov|mdat|wide|free|skip)", MP4),
    (rb"RIFF....AVI ", AVI),
    (rb"RIFF....WEBPVP8X....[" + re.escape(bytes(flags for flags in range(64) if flags & 2)) + rb"]", WEBP),
    (rb"\x1a\x45\xdf\xa3.{0,60}webm", WEBM),
    (rb"\x1a\x45\xdf\xa3", MATROSKA),
    (rb"\0\0\x01\xba", FilmKind("MPEG program stream")),
    (rb"\0\0\x01\xb3", FilmKind("MPEG video stream")),
    (rb"G.{187}G", FilmKind("MPEG transport stream")),
    (rb"FLV\x01", FilmKind("Flash video")),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", FilmKind("Windows media")),
    (rb"DKIF", FilmKind("IVF")),
    (rb"YUV4MPEG2 ", FilmKind("YUV4MPEG")),
    (rb"GIF8[79]a", FilmKind("GIF", end=b";")),
    (rb"\x89PNG\r\n\x1a\n.{25,150}acTL", FilmKind("animated PNG", end=b"IEND\xae\x42\x60\x82")),
    (rb"OggS", FilmKind("Ogg")),
    (rb"\0?\0\0\x01[\x40\x42\x46]\x01", H265),
    (rb"\0?\0\0\x01[\x06\x07\x09\x27\x47\x67]", H264),
    (rb"....G", FilmKind("MPEG transport stream of a camcorder")),
    (rb"\xff\xd8\xff", FilmKind("bare MJPEG stream", has_stamps=False)),
    (rb"--[^\r\n]{1,70}\r?\n(?i:content-type: image/jpeg)", FilmKind("JPEG stream of a web camera", has_stamps=False)),
    (rb"\x12\0\x0a", FilmKind("bare AV1 stream", has_stamps=False)),
    (rb"(?:II[\x2a\x2b]\0|MM\0[\x2a\x2b])", TIFF),
)

CODECS: dict[str, str] = {
    "av01": "AV1", "V_AV1": "AV1", "avc1": "H.264", "V_MPEG4/ISO/AVC": "H.264", "hvc1": "H.265", "hev1": "H.265",
    "V_MPEGH/ISO/HEVC": "H.265", "vvc1": "H.266", "V_VP8": "VP8", "vp08": "VP8", "V_VP9": "VP9", "vp09": "VP9",
    "apch": "ProRes", "apcn": "ProRes", "apcs": "ProRes", "ap4h": "ProRes", "CFHD": "CineForm", "M8RG": "MagicYUV",
    "encv": "encrypted film", "braw": "Blackmagic raw", "V_THEORA": "Theora", "dvhe": "Dolby Vision", "mp4a": "AAC",
}  # fmt: skip
"""Codecs by the mark that names them in MP4 or Matroska; sound comes last."""


def identify_film(magic: bytes) -> FilmKind | None:
    """The format of a file that begins with these bytes, if it is one of films."""
    return next((kind for pattern, kind in _STARTS if re.match(pattern, magic, re.DOTALL)), None)


def name_codec(file: BinaryIO) -> str:
    """The codec that an MP4 or Matroska file names, or nothing."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    text = file.read(LOOKED_AT)
    file.seek(max(0, size - LOOKED_AT))
    text += file.read(LOOKED_AT)
    return next((name for mark, name in CODECS.items() if mark.encode() in text), "")


@dataclass(frozen=True, slots=True)
class Framing:
    """What the outermost boxes of a file say of its completeness."""

    missing: int = 0
    """Bytes that the file lacks by its own account, at least."""
    unfinished: bool = False
    """A recorder never wrote the sizes or the count: it was killed, or it was broadcasting."""
    index: bool = True
    """False for an MP4 without `moov`, of which nothing can be decoded."""


def read_framing(file: BinaryIO, kind: FilmKind) -> Framing:
    """What a film's outermost boxes say of its completeness; formats without boxes say nothing."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if kind is AVI:
        head = file.read(52)
        claimed, frames = int.from_bytes(head[4:8], "little"), int.from_bytes(head[48:52], "little")
        unfinished = claimed in UNFINISHED or (head[24:28] == b"avih" and frames == 0)
        return Framing(0 if unfinished else max(0, claimed + 8 - size), unfinished)
    if kind in (MATROSKA, WEBM):
        return _read_ebml(file, size)
    if kind is MP4:
        return _read_boxes(file, size)
    if kind.end:
        file.seek(max(0, size - 512))
        return Framing(0 if file.read().rstrip(b"\0").endswith(kind.end) else 1)
    return Framing()


def _read_boxes(file: BinaryIO, size: int) -> Framing:
    """Boxes of ISO/IEC 14496-12: a size of 32 bits, or 1 and one of 64 bits, or 0 for the rest of the file."""
    place, kinds, last = 0, set[bytes](), b""
    while place + 8 <= size and len(kinds) < 32:
        file.seek(place)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        last = head[4:8]
        kinds.add(last)
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:
            break  # the last box, or none: then the decoder judges
        place += length
    missing = max(0, place - size)
    return Framing(missing, missing > 0 and b"moof" in kinds, b"moov" in kinds and not (missing and last == b"moov"))


def _read_ebml(file: BinaryIO, size: int) -> Framing:
    """Matroska: an EBML header, then one segment; all ones stand for an unknown size (RFC 8794, section 6.2)."""
    place = 0
    for _ in range(4):
        file.seek(place)
        head = file.read(12)
        width = 9 - head[4].bit_length() if len(head) > 4 and head[4] else 0
        if not width:
            return Framing()
        bits = int.from_bytes(head[4 : 4 + width], "big") & ((1 << 7 * width) - 1)
        if head[:4] == b"\x18\x53\x80\x67":
            if bits == (1 << 7 * width) - 1:
                return Framing(unfinished=True)
            return Framing(max(0, place + 4 + width + bits - size))
        place += 4 + width + bits
    return Framing()
