"""PGM, PPM and PFM files, read without a decoder: a short header in text, then plain numbers.

The largest value that PGM and PPM state is the full scale of a picture: 4095 of a 12-bit camera. Rows of a PFM run from
the bottom up, and the sign of its scale is its byte order; its size is left alone, as in the Middlebury data sets.
(netpbm.sourceforge.net/doc/pgm.html; Debevec, PFM.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from advcal_edge.runtime.sensors.frame import Array

MAGIC = (b"P2", b"P3", b"P5", b"P6", b"Pf", b"PF")
LONGEST_HEADER = 4096
_GAP = rb"(?:\s|#[^\n]*\n)+"
_WHOLE = re.compile(rb"P([2356])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,5})(?:#[^\n]*\n)?\s")
_FLOAT = re.compile(rb"P([fF])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})" + _GAP + rb"(-?[0-9.eE+-]{1,30})\s")
_COMMENT = re.compile(rb"#[^\n]*")


@dataclass(frozen=True, slots=True)
class Netpbm:
    """Header of a file: its size, its largest value (0 of floats), and where its values begin."""

    kind: str
    width: int
    height: int
    channels: int
    largest: int
    start: int
    dtype: str
    text: bool

    @property
    def needed(self) -> int:
        """Bytes of the values, or the fewest characters of them."""
        values = self.width * self.height * self.channels
        return 2 * values - 1 if self.text else values * np.dtype(self.dtype).itemsize


def read_netpbm(data: bytes) -> Netpbm:
    """The header of a file that begins as one of `MAGIC`.

    Raises:
        ValueError: it does not go on as one.
    """
    head = data[:LONGEST_HEADER]
    if found := _WHOLE.match(head):
        which, width, height, largest = (int(group) for group in found.groups())
        if not 1 <= largest <= 65535:
            raise ValueError(f"a largest value of {largest}")
        kind, channels = ("pgm", 1) if which in (2, 5) else ("ppm", 3)
        dtype = "u1" if largest < 256 else ">u2"
        return Netpbm(kind, width, height, channels, largest, found.end(), dtype, which in (2, 3))
    if found := _FLOAT.match(head):
        scale = float(found[4])
        if not 0 < abs(scale) < float("inf"):
            raise ValueError(f"a scale of {scale}")
        channels = 1 if found[1] == b"f" else 3
        order = "<" if scale < 0 else ">"
        return Netpbm("pfm", int(found[2]), int(found[3]), channels, 0, found.end(), f"{order}f4", False)
    raise ValueError("no header")


def decode_netpbm(data: bytes, header: Netpbm) -> Array:
    """The values, (h, w) or (h, w, 3), as stored.

    Raises:
        ValueError: fewer or more values than the header claims, or larger ones than the largest it states.
    """
    shape = (header.height, header.width, *([3] if header.channels == 3 else []))
    count = header.width * header.height * header.channels
    if header.text:
        words = _COMMENT.sub(b"", data[header.start :]).split()
        if len(words) != count:
            raise ValueError(f"it claims {count} values and has {len(words)}")
        values = np.array(words, dtype="S5").astype(np.int64)
        if any(len(word) > 5 for word in words) or (values < 0).any():
            raise ValueError("values that are no whole numbers")
    else:
        rest = len(data) - header.start - header.needed
        if rest < 0 or data[header.start + header.needed :].strip():
            raise ValueError(f"it claims {header.needed} bytes of values and has {len(data) - header.start}")
        values = np.frombuffer(data, header.dtype, count, header.start)
    if header.largest and values.max() > header.largest:
        raise ValueError(f"values up to {values.max()} with a stated largest one of {header.largest}")
    frame = values.astype(np.dtype(header.dtype).newbyteorder("="), copy=False).reshape(shape)
    return np.ascontiguousarray(frame[::-1]) if header.kind == "pfm" else frame
