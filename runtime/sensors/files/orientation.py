"""Orientation of pictures: how a camera was held, as EXIF or XMP state it, and the picture turned upright.

Values 1 to 8 are those of tag 274 of TIFF 6.0, which EXIF 2.32 took over. As in Pillow, EXIF is asked first and XMP
where it says nothing; a value outside 1 to 8 means nothing.
"""

from __future__ import annotations

import re
import struct

import numpy as np

from advcal_edge.runtime.sensors.frame import Array

UPRIGHT = 1
TAG = 274
FORMS = {1: "B", 3: "H", 4: "I"}
"""Types of a tag that a whole number may have."""

_PREFIX = b"Exif\0\0"
_XMP = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])")


def read_orientation(exif: bytes | None, xmp: bytes | None) -> int:
    """The orientation that the metadata of a picture state; 1 where they state none."""
    found = _exif_orientation(exif.removeprefix(_PREFIX)) if exif else None
    if found is None and xmp and (stated := _XMP.search(xmp)):
        found = int(stated[1])
    return found if found is not None and 1 <= found <= 8 else UPRIGHT


def _exif_orientation(exif: bytes) -> int | None:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return None
    try:
        (directory,) = struct.unpack_from(order + "I", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, directory)
        for at in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, form, count = struct.unpack_from(order + "HHI", exif, at)
            if tag == TAG and form in FORMS and count == 1:
                return int(struct.unpack_from(order + FORMS[form], exif, at + 8)[0])
    except struct.error:  # it ends early
        pass
    return None


def turn_upright(frame: Array, orientation: int) -> Array:
    """A stored picture (h, w) or (h, w, c) as it was seen; 5 to 8 swap its height and width."""
    if orientation == UPRIGHT:
        return frame
    if orientation >= 5:
        frame = frame.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        frame = frame[::-1]
    if orientation in (2, 3, 6, 7):
        frame = frame[:, ::-1]
    return np.ascontiguousarray(frame)
