"""Frames from image files and arrays of numpy; sizes are compared with the file before memory is allocated."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.npy_header import read_header
from advcal_edge.npz import open_npz
from advcal_edge.runtime.sensors.files.image_header import ImageHeader, read_image_header
from advcal_edge.runtime.sensors.files.netpbm import decode_netpbm
from advcal_edge.runtime.sensors.files.opencv import cv2, decode_picture
from advcal_edge.runtime.sensors.files.orientation import turn_upright
from advcal_edge.runtime.sensors.files.sensor_file import AGAIN, NPY, open_sensor_file, quoted
from advcal_edge.runtime.sensors.files.tiff_picture import decode_tiff
from advcal_edge.runtime.sensors.files.unread import name_format
from advcal_edge.runtime.sensors.frame import Array

FORMATS = "png, jpeg, bmp, webp, tiff, gif, avif, pgm, ppm, pfm, npy or npz"
ZIP = b"PK\3\4"


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What a file holds: the values as stored, upright; and what it says of them."""

    values: Array
    """Grey (h, w), RGB (h, w, 3) or RGBA (h, w, 4), in the file's own depth; or the array of a file of numpy."""
    full_scale: int = 0
    """The largest value that the file's format allows; 0: that of the type of the values."""
    radiometric: str = ""
    """Maker of a camera that stored temperatures beside this picture."""


def decode_file(path: str | os.PathLike[str]) -> Array:
    """The array in an image file or a file of numpy: grey (h, w), RGB (h, w, 3) or RGBA (h, w, 4).

    Raises:
        InputError: as for `read_picture`.
    """
    return read_picture(path).values


def read_picture(path: str | os.PathLike[str]) -> Picture:
    """The picture in an image file, upright, or the only array in a file of numpy.

    Raises:
        InputError: missing, too large, of another format, truncated or corrupt, or of several pictures.
        DependencyError: a tiff that only tifffile reads, which is not installed.
    """
    path = Path(path)
    with open_sensor_file(path) as file:
        head = file.read(len(NPY))
        file.seek(0)
        if head == NPY:
            return Picture(read_npy(file, path))
        if head.startswith(ZIP):
            return Picture(_read_npz(file, path))
        data = file.read(limits.SENSOR_BYTES.value + 1)
    return decode_image(data, path)


def decode_image(data: bytes, path: Path) -> Picture:
    """The picture in the bytes of an image file; `path` names it in errors.

    Raises:
        InputError: too large, of another format, truncated or corrupt.
    """
    limits.SENSOR_BYTES.check(len(data), f"`{path}`", InputError)
    claims = read_image_header(data)
    if claims is None:
        raise _unknown(data, path)
    if claims.width * claims.height == 0:
        raise InputError(f"`{path}` claims {claims.width} x {claims.height} pixels; expected at least one", hint=AGAIN)
    pixels, where = claims.width * claims.height, f"`{path}`, {claims.width} x {claims.height} by its header,"
    limits.PIXELS.check(pixels, where, InputError)
    limits.SENSOR_BYTES.check(pixels * claims.depth, where, InputError)
    if claims.complete and claims.frames > 1:
        several = "several pictures" if claims.kind in ("jpeg", "avif") else f"{claims.frames} pictures"
        raise InputError(
            f"`{path}` is a film of {several} ({claims.kind}); expected one frame",
            hint=f"`ffmpeg -i {quoted(path)} frame%05d.png` writes each to a file of its own",
        )
    frame, said, scale = _decode(data, claims, path) if claims.complete else (None, [], 0)
    if frame is None or frame.shape[:2] not in _sizes(claims):
        why = f": {said[-1]}" if said else ""
        raise InputError(f"`{path}` is a truncated or corrupt {claims.kind} file of {len(data)} bytes{why}", hint=AGAIN)
    return Picture(turn_upright(frame, claims.orientation), scale, claims.radiometric)


def _decode(data: bytes, claims: ImageHeader, path: Path) -> tuple[Array | None, list[str], int]:
    """The stored picture as RGB, or None; the output of its decoder; the full scale of its values."""
    if claims.tiff is not None:
        return decode_tiff(data, claims.tiff, path)
    if claims.netpbm is not None:
        try:
            return decode_netpbm(data, claims.netpbm), [], claims.netpbm.largest
        except ValueError as error:
            return None, [str(error)], 0
    frame, said = decode_picture(data)
    if frame is not None and frame.ndim == 3 and frame.shape[2] in (3, 4):
        frame = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB if frame.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    return frame, said, 0


def _sizes(claims: ImageHeader) -> tuple[tuple[int, int], ...]:
    """Height and width that the decoded picture may have."""
    if claims.tiff is None:
        return ((claims.height, claims.width),)
    page = (claims.tiff.whole or claims.tiff.pages)[0]  # its decoders turn it
    return ((page.width, page.height),) if page.orientation in range(5, 9) else ((page.height, page.width),)


def _unknown(data: bytes, path: Path) -> InputError:
    known = name_format(data, path)
    if known is None:
        return InputError(
            f"`{path}` is none of the formats {FORMATS}, or its header is broken",
            hint=f"`ffmpeg -i {quoted(path)} frame.png` converts other pictures",
        )
    return InputError(f"`{path}` is {known[0]}; expected {FORMATS}", hint=known[1])


def _read_npz(file: BinaryIO, path: Path) -> Array:
    hint = f"write it with `numpy.savez`; if that wrote it, {AGAIN}"
    with open_npz(file, f"`{path}`", limits.SENSOR_BYTES, InputError, hint=hint) as archive:
        if len(archive.names) != 1:
            raise InputError(
                f"`{path}` holds {len(archive.names)} arrays: {', '.join(archive.names)[:200]}; expected one",
                hint=f"`numpy.save('frame.npy', numpy.load({str(path)!r})[NAME])` writes one of them alone",
            )
        return archive.array(archive.names[0])


def read_npy(file: BinaryIO, path: Path) -> Array:
    """The array in an open .npy file, positioned at the start.

    Raises:
        InputError: a header that numpy did not write, an array of Python objects, or one of another size than the file.
    """
    try:
        shape, dtype, turned = read_header(file)
        needed = math.prod(shape) * dtype.itemsize
        left = os.fstat(file.fileno()).st_size - file.tell()
        if needed > left:
            raise ValueError(f"it claims {dtype} {shape}, {needed:,} bytes, and has {left:,} of them")
        if needed < left:
            raise ValueError(f"after its array {dtype} {shape} come {left - needed:,} bytes: more arrays?")
        data = np.fromfile(file, np.uint8, needed)
        if len(data) != needed:
            raise ValueError("it became shorter while it was read")
        return data.view(dtype).reshape(shape, order="F" if turned else "C")
    except (TypeError, ValueError, MemoryError) as error:
        raise InputError(
            f"`{path}` is no readable .npy array: {error}",
            hint=f"write it with `numpy.save`, one array to a file; if that wrote it, {AGAIN}",
        ) from error
