"""Decode one page of a TIFF: by OpenCV what it reads right, by tifffile (extra `tiff`) the rest."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path

import numpy as np

from advcal_edge.errors import DependencyError, InputError, first_line
from advcal_edge.runtime.sensors.files.opencv import cv2, decode_page
from advcal_edge.runtime.sensors.files.orientation import turn_upright
from advcal_edge.runtime.sensors.files.sensor_file import AGAIN, quoted
from advcal_edge.runtime.sensors.files.tiff import (
    BLACK_IS_ZERO,
    CMYK,
    FLOAT,
    PALETTE,
    RGB,
    SIGNED,
    UNSIGNED,
    WHITE_IS_ZERO,
    YCBCR,
    Page,
    Tiff,
)  # fmt: skip
from advcal_edge.runtime.sensors.frame import Array

AS_STORED = {
    UNSIGNED: (1, 2, 4, 8, 10, 12, 14, 16),
    SIGNED: (8, 16, 32),
    FLOAT: (32, 64),
}
"""Bits of the values that OpenCV reads as stored, by their format."""

PACKED = (10, 12, 14)
"""Bits that OpenCV moves up to fill 16."""

COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946)
"""None, CCITT, LZW, JPEG, deflate and PackBits: those in OpenCV's libtiff."""

SPLIT = (
    "import sys, cv2;"
    " [cv2.imwrite(f'page{k}.tiff', page) for k, page in enumerate(cv2.imreadmulti(sys.argv[1], flags=-1)[1])]"
)
SPLIT_OTHER = (
    "import sys, numpy, tifffile;"
    " [numpy.save(f'page{k}.npy', page) for k, page in enumerate(tifffile.imread(sys.argv[1]))]"
)
"""Of stacks behind one directory, and of what OpenCV cannot read."""


def choose_page(tiff: Tiff, path: Path) -> Page:
    """The page that is the picture, past thumbnails.

    Raises:
        InputError: several pages are, or it holds a camera's raw values.
    """
    pages = tiff.whole or tiff.pages[:1]
    if any(page.raw for page in tiff.pages):
        raise InputError(
            f"`{path}` is a camera's raw file (DNG, NEF or ARW, a kind of TIFF); expected a picture",
            hint=f"`dcraw_emu -T -4 {quoted(path)}` of LibRaw develops it to a 16-bit tiff",
        )
    count = max(len(pages), pages[0].stack)
    if count > 1:
        way = SPLIT if len(pages) > 1 and _is_plain(pages[0]) and pages[0].compression in COMPRESSIONS else SPLIT_OTHER
        raise InputError(
            f"`{path}` is a stack of {count} pages; expected one frame",
            hint=f'`python3 -c "{way}" {quoted(path)}` writes each page to a file of its own',
        )
    return pages[0]


def decode_tiff(data: bytes, tiff: Tiff, path: Path) -> tuple[Array | None, list[str], int]:
    """The picture as RGB, or None; the output of its decoder; the full scale of its values, 0 for that of their type.

    Raises:
        InputError: several pages, or stored in a way that nothing here reads.
        DependencyError: stored in a way that only tifffile reads, which is not installed.
    """
    page = choose_page(tiff, path)
    coloured = page.bits <= 8 and page.format == UNSIGNED and not _is_plain(page)
    if coloured and page.compression in COMPRESSIONS and page.photometric in (RGB, PALETTE, CMYK, YCBCR):
        frame, said = decode_page(data, page.index, cv2.IMREAD_COLOR)
        return (None if frame is None else _to_rgb(frame)), said, 0
    if not (_is_plain(page) and page.compression in COMPRESSIONS):
        return _decode_other(data, page, path), [], 0
    frame, said = decode_page(data, page.index, cv2.IMREAD_UNCHANGED)
    if frame is None and page.tiled:
        return _decode_other(data, page, path), [], 0
    if frame is None:
        return None, said, 0
    scale = 0
    if page.bits in PACKED and frame.dtype == np.uint16:
        frame, scale = frame >> (16 - page.bits), 2**page.bits - 1
    if page.photometric == WHITE_IS_ZERO and page.bits > 8 and page.format == UNSIGNED:
        frame = np.asarray((scale or 65535) - frame, frame.dtype)
    return _to_rgb(frame), said, scale


def _is_plain(page: Page) -> bool:
    """Does OpenCV read the values as they are stored?"""
    grey = page.samples in (1, 2) and page.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO)
    colours = page.samples in (3, 4) and page.photometric == RGB and page.bits not in (1, 2, 4, *PACKED)
    if page.photometric == WHITE_IS_ZERO and page.format != UNSIGNED:
        return False
    if page.samples == 2 and page.bits != 8:
        return False
    return (grey or colours) and not page.planar and page.bits in AS_STORED.get(page.format, ())


def _to_rgb(frame: Array) -> Array:
    if frame.ndim == 2 or frame.shape[2] not in (3, 4):
        return frame
    return np.ascontiguousarray(frame[:, :, [2, 1, 0, 3][: frame.shape[2]]])


def _decode_other(data: bytes, page: Page, path: Path) -> Array | None:
    try:
        import tifffile
    except ModuleNotFoundError as error:
        raise DependencyError(
            "tifffile",
            extra="tiff",
            purpose=f"`{path}`, a tiff of {_describe(page)},",
            hint="pip install 'advcal-edge[tiff]'; or write it anew without compression, as 8 or 16 bits, or float32",
        ) from error
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # it tells of every damaged tag
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with tifffile.TiffFile(io.BytesIO(data)) as file:
                stored = file.pages[page.index]
                values = np.asarray(stored.asarray())
    except Exception as error:  # of a damaged file it raises almost anything
        raise InputError(
            f"`{path}` is a tiff of {_describe(page)} that does not decode: {first_line(error)[:200]}", hint=AGAIN
        ) from error
    if values.ndim not in (2, 3) or values.size == 0:
        return None
    if page.planar and values.ndim == 3:
        values = np.moveaxis(values, 0, -1)
    if page.photometric == PALETTE and values.ndim == 2 and values.dtype.kind in "bu":
        values = values.astype(np.uint16)
        table = getattr(stored, "colormap", None)
        if table is None or values.max() >= table.shape[1]:
            raise InputError(f"`{path}` is a tiff with a palette that lacks colours it uses", hint=AGAIN)
        values = (table.T >> 8).astype(np.uint8)[values]
    elif page.photometric not in (BLACK_IS_ZERO, RGB):
        raise InputError(
            f"`{path}` is a tiff of {_describe(page)}, whose colours are not read",
            hint=f"`ffmpeg -i {quoted(path)} frame.png` converts it",
        )
    return turn_upright(values, page.orientation if page.orientation in range(1, 9) else 1)


def _describe(page: Page) -> str:
    """How its values are stored, in words."""
    kinds = {UNSIGNED: "unsigned", SIGNED: "signed", FLOAT: "float"}
    names = {
        1: "no compression", 5: "LZW", 7: "JPEG", 8: "deflate", 34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA",
        50000: "ZSTD", 50001: "WebP", 52546: "JPEG XL",
    }  # fmt: skip
    colours = {PALETTE: " with a palette", CMYK: " in CMYK", YCBCR: " in YCbCr", 8: " in CIE Lab"}
    return (
        f"{page.samples} {'separate planes' if page.planar else 'channels' if page.samples > 1 else 'channel'} of"
        f" {page.bits} bits, {kinds.get(page.format, 'of mixed kinds')}{colours.get(page.photometric, '')},"
        f" {names.get(page.compression, f'compression {page.compression}')}"
    )
