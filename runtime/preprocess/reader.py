"""Raw frames from files. Nothing in a file is trusted, and nothing in it is ever executed."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from advcal_edge.errors import InputError
from advcal_edge.runtime.preprocess.claims import read_claims
from advcal_edge.runtime.preprocess.frame import MAX_PIXELS, Array

MAX_BYTES = 512 * 2**20
FORMATS = "png, jpeg, bmp, webp, tiff or npy"


def decode_file(path: str | os.PathLike[str]) -> Array:
    """The array in an image or .npy file: grey (h, w), RGB (h, w, 3) or RGBA (h, w, 4), in the file's own depth.

    Raises:
        InputError: missing, too large, of another format, truncated or corrupt.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"`{path}` has {path.stat().st_size} bytes; expected at most {MAX_BYTES}")
        with path.open("rb") as file:
            head = file.read(6)
        if head == b"\x93NUMPY":
            return _load_npy(path)
        return _decode_image(path.read_bytes(), path)
    except OSError as error:
        raise InputError(f"cannot read `{path}`: {error.strerror or error}") from error


def _load_npy(path: Path) -> Array:
    try:
        # mapped, not read: a header that claims more than the file holds fails here and allocates nothing
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        return np.array(array)
    except Exception as error:  # numpy evaluates the header as a literal, so almost anything may be raised
        raise InputError(f"`{path}` is no readable .npy array: {error}") from error


def _decode_image(data: bytes, path: Path) -> Array:
    claims = read_claims(data)
    if claims is None:
        raise InputError(f"`{path}` is none of the formats {FORMATS}, or its header is broken")
    if not 0 < claims.width * claims.height <= MAX_PIXELS:
        raise InputError(
            f"`{path}` claims {claims.width} x {claims.height} pixels; expected at least one and at most {MAX_PIXELS}"
        )
    frame = _imdecode(data) if claims.complete else None
    if frame is None:
        raise InputError(f"`{path}` is a truncated or corrupt {claims.kind} file of {len(data)} bytes")
    if frame.ndim == 2 or frame.shape[2] not in (3, 4):
        return frame
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB if frame.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _imdecode(data: bytes) -> Array | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
