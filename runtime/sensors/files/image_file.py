"""Frames from image files and .npy arrays; sizes are compared with the file before memory is allocated."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.npy_header import read_header
from advcal_edge.runtime.sensors.files.image_header import read_image_header
from advcal_edge.runtime.sensors.files.opencv import cv2, decode_picture
from advcal_edge.runtime.sensors.files.sensor_file import AGAIN, NPY, open_sensor_file, quoted
from advcal_edge.runtime.sensors.frame import Array

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
    return decode_image(data, path)


def decode_image(data: bytes, path: Path) -> Array:
    """The picture in the bytes of an image file; `path` names it in errors.

    Raises:
        InputError: too large, of another format, truncated or corrupt.
    """
    limits.SENSOR_BYTES.check(len(data), f"`{path}`", InputError)
    claims = read_image_header(data)
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
    return np.ascontiguousarray(frame[:, :, [2, 1, 0, 3][: frame.shape[2]]])  # OpenCV cannot convert doubles


def read_npy(file: BinaryIO, path: Path) -> Array:
    """The array in an open .npy file, positioned at the start.

    Raises:
        InputError: a header that numpy did not write, an array of Python objects, or one larger than the file.
    """
    try:
        shape, dtype, turned = read_header(file)
        needed = math.prod(shape) * dtype.itemsize
        left = os.fstat(file.fileno()).st_size - file.tell()
        if needed > left:
            raise ValueError(f"it claims {dtype} {shape}, {needed:,} bytes, and has {left:,} of them")
        data = np.fromfile(file, np.uint8, needed)
        if len(data) != needed:
            raise ValueError("it became shorter while it was read")
        return data.view(dtype).reshape(shape, order="F" if turned else "C")
    except (TypeError, ValueError, MemoryError) as error:
        raise InputError(
            f"`{path}` is no readable .npy array: {error}",
            hint=f"write it with `numpy.save`; if that wrote it, {AGAIN}",
        ) from error
