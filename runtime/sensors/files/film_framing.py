"""The outermost boxes of films: whether all of the file is there, and what a recorder left that was killed."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from advcal_edge.runtime.sensors.files.film_kind import AVI, MATROSKA, MP4, WEBM, FilmKind

UNFINISHED = (0, 0xFFFFFFFF)
"""Sizes that recorders write first, and mend when they stop."""

LARGEST = 2**24
"""Bytes of an index that are looked at: the edit list of an MP4 is near its start, an AVI of a day has 2.6 million."""


@dataclass(frozen=True, slots=True)
class Framing:
    """What the outermost boxes of a file say of its completeness."""

    missing: int = 0
    """Bytes that the file lacks by its own account, at least."""
    unfinished: bool = False
    """A recorder never wrote the sizes or the count: it was killed, or it was broadcasting."""
    index: bool = True
    """False for an MP4 without `moov`, of which nothing can be decoded."""
    dropped: int = 0
    """Frames of an AVI that its camera dropped: it counts them, and holds nothing in their place."""
    shown: float = math.inf
    """Seconds of an MP4 that its edit list shows: a film that was cut without being encoded anew holds more."""
    sound: bool = False
    """Does a Matroska file hold sound too? Then its duration may be that of the sound."""


def read_framing(file: BinaryIO, kind: FilmKind) -> Framing:
    """What a film's outermost boxes say of its completeness; formats without boxes say nothing."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if kind is AVI:
        head = file.read(52)
        claimed, frames = int.from_bytes(head[4:8], "little"), int.from_bytes(head[48:52], "little")
        unfinished = claimed in UNFINISHED or (head[24:28] == b"avih" and frames == 0)
        missing = 0 if unfinished else max(0, claimed + 8 - size)
        return Framing(missing, unfinished, dropped=_count_dropped(file, size))
    if kind in (MATROSKA, WEBM):
        return _read_ebml(file, size)
    if kind is MP4:
        return _read_boxes(file, size)
    if kind.end:
        file.seek(max(0, size - 512))
        return Framing(0 if file.read().rstrip(b"\0").endswith(kind.end) else 1)
    return Framing()


def _count_dropped(file: BinaryIO, size: int) -> int:
    """Entries of `idx1`, the index of an AVI, for pictures of no bytes: name, flags, place and size of each."""
    file.seek(max(0, size - LARGEST))
    tail = file.read()
    at = tail.rfind(b"idx1")
    if at < 0:
        return 0
    length = min(int.from_bytes(tail[at + 4 : at + 8], "little"), len(tail) - at - 8)
    entries = np.frombuffer(tail[at + 8 : at + 8 + length // 16 * 16], "<u4").reshape(-1, 4)
    pictures = np.isin(entries[:, 0] >> 16, [int.from_bytes(kind, "little") for kind in (b"dc", b"db")])
    return int(np.count_nonzero(pictures & (entries[:, 3] == 0)))


def _read_boxes(file: BinaryIO, size: int) -> Framing:
    """Boxes of ISO/IEC 14496-12: a size of 32 bits, or 1 and one of 64 bits, or 0 for the rest of the file."""
    place, kinds, last, movie = 0, set[bytes](), b"", b""
    while place + 8 <= size and len(kinds) < 32:
        file.seek(place)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        last = head[4:8]
        kinds.add(last)
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if last == b"moov":
            file.seek(place)
            movie = file.read(min(length, LARGEST))
        if length < 8:
            break  # the last box, or none: then the decoder judges
        place += length
    missing = max(0, place - size)
    index = b"moov" in kinds and not (missing and last == b"moov")
    return Framing(missing, missing > 0 and b"moof" in kinds, index, shown=_read_edits(movie))


def _read_edits(movie: bytes) -> float:
    """Seconds that the edit list of the pictures shows, out of the box `moov`; infinite without one (8.6.6)."""
    header = movie.find(b"mvhd")
    for track in movie.split(b"trak")[1:]:
        at = track.find(b"elst")
        if b"vmhd" not in track or at < 0 or header < 0:
            continue
        wide = 8 if track[at + 4] == 1 else 4
        count = min(int.from_bytes(track[at + 8 : at + 12], "big"), len(track) // (2 * wide + 4))
        entries = [track[at + 12 + (2 * wide + 4) * one :] for one in range(count)]
        shown = [entry for entry in entries if entry[wide : 2 * wide] != b"\xff" * wide]  # else the time before it
        scale = header + (24 if movie[header + 4] == 1 else 16)
        per_second = int.from_bytes(movie[scale : scale + 4], "big")
        total = sum(int.from_bytes(entry[:wide], "big") for entry in shown)
        return total / per_second if per_second and total else math.inf
    return math.inf


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
            sound = re.search(rb"\x86[\x80-\xff]A_[A-Z]", file.read(2**16)) is not None  # `CodecID`
            if bits == (1 << 7 * width) - 1:
                return Framing(unfinished=True, sound=sound)
            return Framing(max(0, place + 4 + width + bits - size), sound=sound)
        place += 4 + width + bits
    return Framing()
