"""Formats of films, known by their first bytes, and what each tells of its length.

Playlists, which name other files, are none of them: they never reach a decoder.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import BinaryIO, Literal

LOOKED_AT = 2**18
"""Bytes at the start and at the end of a film in which its codec is named."""


@dataclass(frozen=True, slots=True)
class FilmKind:
    """A format of films."""

    name: str
    has_stamps: bool = True
    """False for bare streams of a codec: their frames have no time."""
    claims: Literal["frames", "duration", "nothing"] = "nothing"
    """What its header says of its length; a decoder guesses the number of frames of the others."""
    end: bytes = b""
    """Bytes with which a whole file ends, but for padding."""


MP4 = FilmKind("MP4", claims="frames")
AVI = FilmKind("AVI", claims="frames")
MATROSKA, WEBM = FilmKind("Matroska", claims="duration"), FilmKind("WebM", claims="duration")
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
    (rb"FLV\x01", FilmKind("Flash video", claims="duration")),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", FilmKind("Windows media", claims="duration")),
    (rb"DKIF", FilmKind("IVF", claims="duration")),
    (rb"YUV4MPEG2 ", FilmKind("YUV4MPEG")),
    (rb"GIF8[79]a", FilmKind("GIF", end=b";")),
    (rb"\x89PNG\r\n\x1a\n.{25,150}acTL", FilmKind("animated PNG", end=b"IEND\xae\x42\x60\x82")),
    (rb"OggS", FilmKind("Ogg", claims="duration")),
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
