"""Directories of a TIFF or BigTIFF file: its pages, and how the values of each are stored (TIFF 6.0, BigTIFF).

Sizes that are stated twice or in another type are refused: a decoder might read them in another way.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

SUBFILE, OLD_SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
DESCRIPTION, ORIENTATION, SAMPLES, PLANAR, TILE_WIDTH, CHILDREN, FORMAT, DNG = (
    270, 274, 277, 284, 322, 330, 339, 50706)  # fmt: skip
READ = {
    SUBFILE, OLD_SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION, ORIENTATION, SAMPLES, PLANAR,
    TILE_WIDTH, CHILDREN, FORMAT, DNG,
}  # fmt: skip
SIZES = {WIDTH, HEIGHT, BITS, SAMPLES}
FORMS = {1: "B", 3: "H", 4: "I", 16: "Q"}
MOST_PAGES = 2**16
MOST_ENTRIES = 4096
LONGEST = 64

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
MOSAIC = (32803, 34892)
"""Values before colours are made of them: colour filter array, linear raw."""

UNSIGNED, SIGNED, FLOAT = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Page:
    """One directory."""

    index: int
    width: int
    height: int
    bits: int
    samples: int
    photometric: int
    compression: int = 1
    planar: bool = False
    tiled: bool = False
    format: int = UNSIGNED
    orientation: int = 1
    reduced: bool = False
    """A thumbnail or a mask of another page."""
    raw: bool = False
    """Values of a camera before colours are made of them."""
    stack: int = 1
    """Pictures that ImageJ keeps behind one directory."""

    @property
    def depth(self) -> int:
        """Bytes of a pixel once it is unpacked."""
        return max(1, -(-self.bits // 8)) * max(1, self.samples)


@dataclass(slots=True)
class Tiff:
    """The pages of a file, in order."""

    pages: list[Page] = field(default_factory=list)
    complete: bool = True
    """No page lies outside the file."""

    @property
    def whole(self) -> list[Page]:
        """Pages that are no thumbnails of others."""
        return [page for page in self.pages if not page.reduced]


def read_tiff(data: bytes) -> Tiff:
    """The directories of a file that begins as a TIFF.

    Raises:
        ValueError, struct.error, KeyError: a directory that is none, or that leads in a circle.
    """
    order = "<" if data[:2] == b"II" else ">"
    (version,) = struct.unpack_from(order + "H", data, 2)
    big = version == 43
    if big and struct.unpack_from(order + "HH", data, 4) != (8, 0):
        raise ValueError("offsets of another width")
    offset, number, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    (at,) = struct.unpack_from(order + offset, data, 8 if big else 4)
    tiff, seen = Tiff(), set[int]()
    while at and len(tiff.pages) < MOST_PAGES:
        if at in seen:
            raise ValueError("pages in a circle")
        seen.add(at)
        try:
            (entries,) = struct.unpack_from(order + number, data, at)
            first = at + struct.calcsize(order + number)
            if entries > MOST_ENTRIES:
                raise ValueError("a directory of too many tags")
            tags = _read_tags(data, order, big, range(first, first + entry * entries, entry))
            (at,) = struct.unpack_from(order + offset, data, first + entry * entries)
        except struct.error:
            if not tiff.pages:
                raise
            tiff.complete = False
            return tiff
        tiff.pages.append(_page(len(tiff.pages), tags))
    if not tiff.pages:
        raise ValueError("no page")
    return tiff


def _read_tags(data: bytes, order: str, big: bool, places: range) -> dict[int, tuple[int, ...] | bytes]:
    tags: dict[int, tuple[int, ...] | bytes] = {}
    for at in places:
        tag, kind = struct.unpack_from(order + "HH", data, at)
        (count,) = struct.unpack_from(order + ("Q" if big else "I"), data, at + 4)
        if tag not in READ:
            continue
        if tag in tags or (tag in SIZES and kind not in (3, 4)):
            raise ValueError("a size of another type, or two")
        value, width = at + (12 if big else 8), 8 if big else 4
        if kind == 2:
            form = f"{min(count, LONGEST)}s"
        elif kind in FORMS and count:
            form = f"{order}{min(count, 8)}{FORMS[kind]}"
        else:
            continue
        if count * struct.calcsize(form[-1] if kind != 2 else "s") > width:
            (value,) = struct.unpack_from(order + ("Q" if big else "I"), data, value)
        found = struct.unpack_from(form, data, value)
        tags[tag] = found[0] if kind == 2 else found
    return tags


def _page(index: int, tags: dict[int, tuple[int, ...] | bytes]) -> Page:
    def number(tag: int, otherwise: int) -> int:
        found = tags.get(tag)
        return max(found) if isinstance(found, tuple) else otherwise

    bits = tags.get(BITS, (1,))
    format_ = number(FORMAT, UNSIGNED)
    text = tags.get(DESCRIPTION, b"")
    stack = 1
    if isinstance(text, bytes) and text.startswith(b"ImageJ"):
        stated = [line.partition(b"=")[2] for line in text.split(b"\n") if line.startswith(b"images=")]
        stack = int(stated[0]) if stated and stated[0].isdigit() else 1
    if isinstance(bits, tuple) and len(set(bits)) > 1:
        format_ = 0  # channels of different widths
    kind = number(SUBFILE, 0)
    photometric = number(PHOTOMETRIC, BLACK_IS_ZERO)
    return Page(
        index,
        _one(tags, WIDTH),
        _one(tags, HEIGHT),
        number(BITS, 1),
        number(SAMPLES, 1),
        photometric,
        number(COMPRESSION, 1),
        planar=number(PLANAR, 1) == 2 and number(SAMPLES, 1) > 1,
        tiled=TILE_WIDTH in tags,
        format=format_,
        orientation=number(ORIENTATION, 1),
        reduced=bool(kind & 0b101) or number(OLD_SUBFILE, 1) == 2,
        raw=DNG in tags or photometric in MOSAIC or (bool(kind & 1) and CHILDREN in tags),
        stack=stack,
    )


def _one(tags: dict[int, tuple[int, ...] | bytes], tag: int) -> int:
    found = tags[tag]
    if not isinstance(found, tuple) or len(found) != 1:
        raise ValueError("a size that is no number")
    return found[0]
