"""Sound files made of pages or frames (Ogg, MP3, FLAC): whether they are whole.

Ogg is RFC 3533. A frame of MPEG audio says its own length (ISO/IEC 11172-3, 13818-3); the first one may be empty and
hold the number of frames in a mark `Xing` or `Info`. FLAC (RFC 9639) begins with the number of samples and their MD5.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

OGG_CODECS = {
    b"\x01vorbis": "Vorbis",
    b"OpusHead": "Opus",
    b"\x7fFLAC": "FLAC",
    b"Speex  ": "Speex",
    b"\x80theora": "Theora",
}

MOST = 2**20
"""Pages or frames that are looked at; longer recordings are beyond the limit on samples."""

ROWS = 2**18
"""Samples that are hashed at a time."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What the pages or frames of a sound file say."""

    codec: str
    fault: str = ""
    """Why not all of it can be read; nothing if it can."""
    samples: int = 0
    """Samples of each channel by the number of frames; 0 if they do not say it."""
    slack: int = 0
    """By how many the decoder may differ: delay and padding of the encoder."""


def check_ogg(file: BinaryIO) -> Stream:
    """Walk the pages: each is whole, there is one stream, and the last page says that it is the last."""
    size = file.seek(0, os.SEEK_END)
    place, codec, begun, flags = 0, "", False, 0
    for _ in range(MOST):
        if place >= size:
            break
        file.seek(place)
        head = file.read(27 + 255)
        segments = head[26] if len(head) > 26 else 0
        if head[:4] != b"OggS" or len(head) < 27 + segments:
            return Stream(codec, f"its page at byte {place:,} is broken")
        flags = head[5]
        if flags & 2:
            if begun:
                return Stream(codec, "it holds several recordings, one after the other or side by side")
            body = head[27 + segments : 27 + segments + 8]
            codec = next((name for mark, name in OGG_CODECS.items() if body.startswith(mark)), "an unknown codec")
        begun = True
        place += 27 + segments + sum(head[27 : 27 + segments])
    if place < size:
        return Stream(codec, f"it has more than {MOST:,} pages")
    if place > size:
        return Stream(codec, f"its last page lacks {place - size:,} bytes")
    if codec not in ("Vorbis", "Opus", "FLAC"):
        return Stream(codec, "expected Vorbis, Opus or FLAC")
    return Stream(codec, "" if flags & 4 else "its last page does not end the recording")


BITRATES = {
    (3, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG-1, layer III
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (2, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG-2 and 2.5, layers III and II
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
}  # fmt: skip
"""Kilobits a second by the first index, by version (3: MPEG-1) and layer (1: III)."""

MPEG_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def is_mpeg_audio(head: bytes) -> bool:
    """Does a file begin with a tag `ID3` or a frame of MPEG audio?"""
    return head.startswith(b"ID3") or _frame(head[:4]) is not None


def check_mpeg_audio(file: BinaryIO) -> Stream:
    """Walk the frames: they follow each other to the end, and are as many as the first one claims, if it does."""
    size = file.seek(0, os.SEEK_END)
    place = _skip_tag(file, 0)
    frames, claimed, samples, rate = 0, 0, 0, 0
    for _ in range(MOST):
        if place + 4 > size:
            break
        file.seek(place)
        head = file.read(4)
        found = _frame(head)
        if found is None or (rate and found[2] != rate):
            tail = head[:3] in (b"TAG", b"APE", b"ID3", b"LYR") or head == b"\0\0\0\0"
            if frames and tail:
                break
            return Stream("MP3", f"there is no frame at byte {place:,}" if frames else "it has no frame")
        length, samples, rate = found
        if place + length > size:
            return Stream("MP3", f"its last frame lacks {place + length - size:,} bytes")
        if not frames:
            file.seek(place)
            claimed = _claimed_frames(file.read(min(length, 200)))
        frames += 1
        place += length
    if claimed and claimed not in (frames, frames - 1):
        return Stream("MP3", f"its first frame claims {claimed} frames, and it has {frames}")
    return Stream("MP3", samples=frames * samples, slack=5 * samples)


def _skip_tag(file: BinaryIO, place: int) -> int:
    file.seek(place)
    head = file.read(10)
    if head[:3] != b"ID3" or len(head) < 10:
        return place
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 127
    return place + 10 + size + (10 if head[5] & 16 else 0)


def _frame(head: bytes) -> tuple[int, int, int] | None:
    """Bytes, samples and rate of a frame by its four bytes of header."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, bits, rate = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 0 or bits in (0, 15) or rate == 3:
        return None
    hertz = MPEG_RATES[version][rate]
    table = BITRATES[(3, layer) if version == 3 else (2, 3 if layer == 3 else 1)]
    samples = 384 if layer == 3 else 576 if layer == 1 and version != 3 else 1152
    padding = head[2] >> 1 & 1
    if layer == 3:
        return (12000 * table[bits - 1] // hertz + padding) * 4, samples, hertz
    return samples // 8 * 1000 * table[bits - 1] // hertz + padding, samples, hertz


def _claimed_frames(frame: bytes) -> int:
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if at >= 0 and len(frame) >= at + 12 and frame[at + 7] & 1:
        return int.from_bytes(frame[at + 8 : at + 12], "big")
    at = frame.find(b"VBRI")
    return int.from_bytes(frame[at + 14 : at + 18], "big") if at >= 0 else 0


def flac_samples(head: bytes) -> tuple[int, int, bytes]:
    """Samples of each channel (0: unknown), bits of one, and MD5 of all (zeros: unknown), as a FLAC file claims."""
    packed = int.from_bytes(head[18:26], "big")
    return packed & (1 << 36) - 1, (packed >> 36 & 31) + 1, head[26:42]


def flac_md5(values: NDArray[Any], bits: int) -> bytes:
    """The MD5 of samples (t, c), int32 with full scale at 2^31, as FLAC takes it: of the bytes they need."""
    digest = hashlib.md5(usedforsecurity=False)
    for start in range(0, len(values), ROWS):
        counts = (values[start : start + ROWS] >> (32 - bits)).astype("<i4")
        parts = np.ascontiguousarray(counts).view(np.uint8).reshape(-1, 4)[:, : -(-bits // 8)]
        digest.update(np.ascontiguousarray(parts).tobytes())
    return digest.digest()
