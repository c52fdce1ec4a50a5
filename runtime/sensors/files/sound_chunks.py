"""Sound files made of chunks (WAV, RF64, W64, AIFF, CAF) and AU: how much sound they hold, and how much they claim.

libsndfile reads what is left of a truncated file as if it were complete, and leaves out what a header does not claim.
Recorders write a size first and mend it when they stop: one that was killed leaves 0 or all ones there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from advcal_edge.runtime.sensors.files.sound_header import UNSAID, Header, Order, read_header

OPEN_SIZES = 0x7FFFF000
"""Sizes of 32 bits from here on are what programs write that cannot go back: no sound of that size is read here."""

MOST = 2**16
"""Chunks that are looked at; files have five, and an index of cues has one."""

KEPT = 64
"""Chunks whose first bytes are kept."""


@dataclass(frozen=True, slots=True)
class Container:
    """How a format writes its chunks."""

    name: str
    first: int
    """Where the first chunk begins."""
    data: bytes
    """Identifier of the chunk with the samples."""
    order: Order = "little"
    id_bytes: int = 4
    size_bytes: int = 4
    pad: int = 2
    """Chunks begin at multiples of this."""
    counted: int = 0
    """Bytes of its own head that a chunk's size counts."""


WAV = Container("WAV", 12, b"data")
RF64 = Container("RF64", 12, b"data")
CONTAINERS: tuple[tuple[bytes, Container], ...] = (
    (rb"RIFF....WAVE", WAV),
    (rb"(?:RF64|BW64)....WAVE", RF64),
    (rb"RIFX....WAVE", Container("RIFX", 12, b"data", "big")),
    (rb"riff\x2e\x91\xcf\x11", Container("W64", 40, b"data", id_bytes=16, size_bytes=8, pad=8, counted=24)),
    (rb"FORM....AIF[FC]", Container("AIFF", 12, b"SSND", "big")),
    (rb"caff\0\x01", Container("CAF", 8, b"data", "big", size_bytes=8, pad=1)),
)


@dataclass(frozen=True, slots=True)
class Extent:
    """Where the samples of a sound file are."""

    start: int
    size: int
    """Bytes of samples: what the header claims, or up to the end of the file if it claims nothing."""
    claims: bool = True
    """False if the header does not say how many there are: the recorder was killed, or could not go back."""
    missing: int = 0
    """Bytes that the header claims beyond the end of the file."""
    surplus: int = 0
    """Bytes behind the samples that are no chunk: more sound, most likely."""
    header: Header = UNSAID
    sizes: tuple[tuple[int, bytes], ...] = ()
    """What the header should say of its size, and where, in formats that killed recorders leave open."""


def find_container(head: bytes) -> Container | None:
    """The format of a file that begins with `head`, if it is made of chunks."""
    return next((container for start, container in CONTAINERS if re.match(start, head, re.DOTALL)), None)


def measure_chunks(file: BinaryIO, container: Container) -> Extent | None:
    """Where the samples are, or None if there is no chunk of samples."""
    size = file.seek(0, os.SEEK_END)
    chunks: dict[bytes, bytes] = {}
    found: tuple[int, int] | None = None
    for name, start, length in _walk(file, container, container.first, size):
        if found is None and name[: len(container.data)] == container.data:
            found = (start, length)
        elif name[:4] not in chunks and len(chunks) < KEPT:
            file.seek(start)
            chunks[name[:4]] = file.read(max(0, min(length, 64)))
    if found is None:
        return None
    header = read_header(chunks, container.order)
    start, length = found
    left = size - start
    if container is RF64 and length >= OPEN_SIZES:
        length = int.from_bytes(chunks.get(b"ds64", b"")[8:16], "little")
    unknown = length >= OPEN_SIZES if container.size_bytes == 4 else length >= 1 << 62
    if length <= 0 and left > 0 and not _are_chunks(file, container, start, size):
        unknown = True
    if unknown and left > 0:
        whole = header.lead + (left - header.lead) // header.block * header.block if header.block else left
        return Extent(start, whole, claims=False, header=header, sizes=_sizes(container, start, whole, size))
    if length > left:
        return Extent(start, left, missing=length - left, header=header)
    end = start + length
    surplus = 0 if _are_chunks(file, container, end, size) else size - end
    return Extent(start, length, missing=_outer_missing(file, container, size), surplus=surplus, header=header)


def measure_au(file: BinaryIO) -> Extent:
    """Where the samples of an AU file are: its header has their place and their size, or all ones."""
    size = file.seek(0, os.SEEK_END)
    file.seek(4)
    start, length = (int.from_bytes(file.read(4), "big") for _ in range(2))
    left = max(0, size - start)
    if length == 0xFFFFFFFF:
        return Extent(start, left, claims=False)
    return Extent(start, min(length, left), missing=max(0, length - left), surplus=max(0, left - length))


def _walk(file: BinaryIO, container: Container, place: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and length of each chunk from `place` on, as claimed."""
    head = container.id_bytes + container.size_bytes
    for _ in range(MOST):
        if place + head > size:
            return
        file.seek(place)
        name = file.read(container.id_bytes)
        length = int.from_bytes(file.read(container.size_bytes), container.order) - container.counted
        yield name, place + head, length
        if length < 0:
            return
        place += head + length
        place += -place % container.pad


def _are_chunks(file: BinaryIO, container: Container, place: int, size: int) -> bool:
    """Is what lies from `place` to the end whole chunks, tags or padding, rather than samples?"""
    if size - place < 8:
        return True
    file.seek(place)
    rest = file.read(min(size - place, 2**16))
    if not rest.strip(b"\0") and len(rest) == size - place:
        return True
    if size - place == 128 and rest.startswith(b"TAG"):
        return True
    place += -place % container.pad
    end = place
    for name, start, length in _walk(file, container, place, size):
        if length < 0 or not re.fullmatch(rb"[ -~]{4}", name[:4]) or name[: len(container.data)] == container.data:
            return False
        end = start + length
    return end <= size and size - end < 8


def _sizes(container: Container, start: int, length: int, size: int) -> tuple[tuple[int, bytes], ...]:
    outer = {"WAV": [(4, size - 8)], "W64": [(16, size)], "CAF": []}.get(container.name)
    if outer is None:
        return ()
    both = [*outer, (start - container.size_bytes, length + container.counted)]
    return tuple((place, value.to_bytes(container.size_bytes, container.order)) for place, value in both)


def _outer_missing(file: BinaryIO, container: Container, size: int) -> int:
    """Bytes that the whole claims beyond the end; some programs count its head of 8 bytes too."""
    if container.size_bytes != 4 or container is RF64:
        return 0
    file.seek(4)
    claimed = int.from_bytes(file.read(4), container.order)
    return 0 if claimed >= OPEN_SIZES else max(0, claimed - size)
