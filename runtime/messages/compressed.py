"""sensor_msgs/CompressedImage to arrays: pictures (jpeg, png, webp, tiff) and depth (compressedDepth, png or RVL).

compressedDepth puts 12 bytes before its png or RVL. Depth in floats (32FC1) is stored as whole numbers q of inverse
depth, z = a / (q - b), with a and b in these bytes; q = 0 is a hole and becomes NaN.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.messages.fields import Message, read_bytes, read_text
from advcal_edge.runtime.messages.rvl import decode_rvl
from advcal_edge.runtime.sensors.files.image_file import decode_image
from advcal_edge.runtime.sensors.frame import Array

DEPTH = "compressedDepth"
CONFIGURATION = struct.Struct("<iff")
SIZES = struct.Struct("<II")
FILMS = ("h264", "h265", "hevc", "av1", "vp8", "vp9", "theora", "mpeg", "ffmpeg")

AGAIN = "it was cut off or damaged on its way; `--skip-bad` leaves such messages out"


def read_compressed(message: Message) -> Array:
    """A compressed image as (h, w), RGB (h, w, 3) or RGBA (h, w, 4), in its own depth; no unit is applied.

    Raises:
        InputError: an unknown format, or data that are truncated, corrupt or too large.
    """
    form, raw = read_text(message, "format"), read_bytes(message)
    if DEPTH in form:
        return _read_depth(form, raw)
    if any(film in form.lower() for film in FILMS):
        raise InputError(
            f"the message has the format `{form}`, a film whose frames need those before them; expected pictures",
            hint="record the topic `compressed` or the raw images; `ros2 run image_transport republish` makes them",
        )
    return _decode(form, raw)


def _decode(form: str, raw: NDArray[np.uint8]) -> Array:
    if raw.size == 0:
        raise InputError(f"the message of format `{form}` holds no data; expected a picture", hint=AGAIN)
    try:
        return decode_image(raw.tobytes(), Path("CompressedImage")).values
    except InputError as error:
        raise InputError(f"{error.message}; its format is `{form}`", hint=AGAIN) from error


def _read_depth(form: str, raw: NDArray[np.uint8]) -> Array:
    encoding, method = form.split(";")[0].strip(), form.rpartition(DEPTH)[2].strip().lower()
    if encoding not in ("16UC1", "mono16", "32FC1") or method not in ("", "png", "rvl"):
        raise InputError(
            f"the message has the format `{form}`; expected 16UC1 or 32FC1, {DEPTH}, and png or rvl",
            hint="set the publisher's `png` or `rvl`",
        )
    if raw.size <= CONFIGURATION.size:
        raise InputError(f"the message of format `{form}` is cut off after {raw.size} bytes", hint=AGAIN)
    _, a, b = CONFIGURATION.unpack(raw[: CONFIGURATION.size].tobytes())
    rest = raw[CONFIGURATION.size :]
    stored = _read_rvl(form, rest) if method == "rvl" else _decode(form, rest)
    if stored.dtype != np.uint16 or stored.ndim != 2:
        raise InputError(
            f"the message of format `{form}` holds {stored.dtype} {stored.shape}; expected uint16 (h, w)", hint=AGAIN
        )
    if encoding != "32FC1":
        return stored
    if not (np.isfinite(a) and np.isfinite(b) and a > 0):
        raise InputError(f"the message of format `{form}` has the parameters {a:g} and {b:g}", hint=AGAIN)
    with np.errstate(divide="ignore"):
        metres = np.float32(a) / (stored.astype(np.float32) - np.float32(b))
    return np.where(stored == 0, np.float32(np.nan), metres)


def _read_rvl(form: str, rest: NDArray[np.uint8]) -> Array:
    if rest.size < SIZES.size:
        raise InputError(f"the message of format `{form}` is cut off before its size", hint=AGAIN)
    width, height = SIZES.unpack(rest[: SIZES.size].tobytes())
    limits.PIXELS.check(width * height, f"the image of {width} x {height} pixels", InputError)
    if width * height == 0:
        raise InputError(f"the message of format `{form}` claims {width} x {height} pixels", hint=AGAIN)
    try:
        return decode_rvl(rest[SIZES.size :], width * height).reshape(height, width)
    except ValueError as error:
        where = f"the message of format `{form}`, {width} x {height},"
        raise InputError(f"{where} is corrupt: {error}", hint=AGAIN) from error
