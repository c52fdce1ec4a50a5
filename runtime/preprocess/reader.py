"""Raw frames from files. Nothing in a file is trusted, and nothing in it is ever executed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.preprocess.claims import read_claims
from advcal_edge.runtime.preprocess.frame import Array
from advcal_edge.runtime.preprocess.npy import read_npy
from advcal_edge.runtime.preprocess.opencv import cv2, decode_picture
from advcal_edge.runtime.preprocess.sensor_file import AGAIN, NPY, open_sensor_file, quoted

FORMATS = "png, jpeg, bmp, webp, tiff or npy"


def decode_file(path: str | os.PathLike[str]) -> Array:
    """The array in an image or .npy file: grey (h, w), RGB (h, w, 3) or RGBA (h, w, 4), in the file's own depth.

    Raises:
        InputError: missing, too large, of another format, truncated or corrupt.
    """
    path = Path(path)
    with open_sensor_file(path) as file:
        head = file.read(len(NPY))
        file.seek(0)
        if head == NPY:
            return read_npy(file, path)
        data = file.read(limits.SENSOR_BYTES.value + 1)
    return _decode_image(data, path)


def _decode_image(data: bytes, path: Path) -> Array:
    limits.SENSOR_BYTES.check(len(data), f"`{path}`", InputError)
    claims = read_claims(data)
    if claims is None:
        raise InputError(
            f"`{path}` is none of the formats {FORMATS}, or its header is broken",
            hint=f"`ffmpeg -i {quoted(path)} frame.png` converts other pictures",
        )
    if claims.width * claims.height == 0:
        raise InputError(f"`{path}` claims {claims.width} x {claims.height} pixels; expected at least one", hint=AGAIN)
    pixels, where = claims.width * claims.height, f"`{path}`, {claims.width} x {claims.height} by its header,"
    limits.PIXELS.check(pixels, where, InputError)
    limits.SENSOR_BYTES.check(pixels * claims.depth, where, InputError)
    frame, said = decode_picture(data) if claims.complete else (None, [])
    if frame is None or frame.shape[:2] != (claims.height, claims.width):
        why = f": {said[-1]}" if said else ""
        raise InputError(f"`{path}` is a truncated or corrupt {claims.kind} file of {len(data)} bytes{why}", hint=AGAIN)
    if frame.ndim == 2 or frame.shape[2] not in (3, 4):
        return frame
    if frame.dtype.kind == "u":
        return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB if frame.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    return np.ascontiguousarray(frame[:, :, [2, 1, 0, 3][: frame.shape[2]]])  # OpenCV turns no doubles
