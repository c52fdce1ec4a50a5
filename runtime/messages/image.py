"""sensor_msgs/Image to arrays: every encoding of ROS, with its step and its byte order.

Colours come out as RGB. An encoding named like OpenCV's types (`8UC3`) says nothing of the order of its channels;
OpenCV's own, BGR, is assumed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.messages.fields import Message, read_bytes, read_text, read_whole, take_rows
from advcal_edge.runtime.sensors.files.opencv import cv2
from advcal_edge.runtime.sensors.frame import Array

RGB, BGR, RGBA, BGRA = [0, 1, 2], [2, 1, 0], [0, 1, 2, 3], [2, 1, 0, 3]


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the rows of an image hold its pixels."""

    dtype: str
    channels: int = 1
    order: list[int] | None = None
    """Channels in the order red, green, blue, alpha."""
    convert: int | None = None
    """OpenCV's conversion to RGB."""
    planes: int = 1
    """Rows of the data for two rows of the image, where colours follow as planes of their own: 3 at 4:2:0."""


BAYER = {f"bayer_{name.lower()}": getattr(cv2, f"COLOR_Bayer{name}2RGB") for name in ("RGGB", "BGGR", "GBRG", "GRBG")}

ENCODINGS: dict[str, Encoding] = {
    "mono8": Encoding("u1"),
    "mono16": Encoding("u2"),
    "rgb8": Encoding("u1", 3, RGB),
    "bgr8": Encoding("u1", 3, BGR),
    "rgba8": Encoding("u1", 4, RGBA),
    "bgra8": Encoding("u1", 4, BGRA),
    "rgb16": Encoding("u2", 3, RGB),
    "bgr16": Encoding("u2", 3, BGR),
    "rgba16": Encoding("u2", 4, RGBA),
    "bgra16": Encoding("u2", 4, BGRA),
    **{f"{name}8": Encoding("u1", convert=code) for name, code in BAYER.items()},
    **{f"{name}16": Encoding("u2", convert=code) for name, code in BAYER.items()},
    **dict.fromkeys(("yuv422", "uyvy"), Encoding("u1", 2, convert=cv2.COLOR_YUV2RGB_UYVY)),
    **dict.fromkeys(("yuv422_yuy2", "yuyv"), Encoding("u1", 2, convert=cv2.COLOR_YUV2RGB_YUYV)),
    "nv12": Encoding("u1", convert=cv2.COLOR_YUV2RGB_NV12, planes=3),
    "nv21": Encoding("u1", convert=cv2.COLOR_YUV2RGB_NV21, planes=3),
}
"""By name, as in sensor_msgs/image_encodings; `nv24` and the types of OpenCV are read beside them."""

OPENCV_TYPE = re.compile("(8U|8S|16U|16S|32S|32F|64F)C([1-4])")
DTYPES = {"8U": "u1", "8S": "i1", "16U": "u2", "16S": "i2", "32S": "i4", "32F": "f4", "64F": "f8"}
NV24 = "nv24"


def read_image(message: Message) -> Array:
    """An image as (h, w), RGB (h, w, 3) or RGBA (h, w, 4), in its own depth; no unit is applied.

    Raises:
        InputError: an unknown encoding, sizes that do not fit the data, or too many pixels.
    """
    name = read_text(message, "encoding")
    height, width = read_whole(message, "height"), read_whole(message, "width")
    step, raw = read_whole(message, "step"), read_bytes(message)
    if height * width == 0:
        raise InputError(
            f"the image has {width} x {height} pixels; expected at least one", hint="is the camera connected?"
        )
    limits.PIXELS.check(height * width, f"the image of {width} x {height} pixels", InputError)
    if name == NV24:
        return _read_nv24(raw, height, width, step or width)
    encoding = find_encoding(name)
    dtype = np.dtype(encoding.dtype)
    used = width * encoding.channels * dtype.itemsize
    if (encoding.planes == 3 and (height % 2 or width % 2)) or (encoding.channels == 2 and width % 2):
        raise InputError(
            f"the image of {width} x {height} pixels is `{name}`; expected even sides, as pixels share colours",
            hint="the driver's size or encoding is wrong",
        )
    rows = take_rows(raw, height * encoding.planes // 2 if encoding.planes == 3 else height, used, step or used)
    stored = dtype.newbyteorder(">" if read_whole(message, "is_bigendian") else "<")
    pixels = rows.view(stored).astype(dtype, copy=False).reshape(len(rows), width, encoding.channels)
    if encoding.convert is not None:
        return _convert(_squeezed(pixels), encoding.convert, name)
    return _squeezed(pixels if encoding.order is None else np.ascontiguousarray(pixels[:, :, encoding.order]))


def find_encoding(name: str) -> Encoding:
    """What an encoding's name stands for.

    Raises:
        InputError: nothing known.
    """
    if name in ENCODINGS:
        return ENCODINGS[name]
    found = OPENCV_TYPE.fullmatch(name)
    if found is None or found[2] == "2":
        raise InputError(
            f"the image has the encoding `{name}`; expected one of {', '.join(ENCODINGS)}, {NV24}, or a type of OpenCV"
            " like 16UC1",
            hint="let the driver publish one of these, or convert it with image_proc",
        )
    channels = int(found[2])
    return Encoding(DTYPES[found[1]], channels, {1: None, 3: BGR, 4: BGRA}[channels])


def _squeezed(pixels: NDArray[Any]) -> Array:
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


def _read_nv24(raw: NDArray[np.uint8], height: int, width: int, step: int) -> Array:
    """A plane of brightness, then one of colours at every pixel, their rows twice as long."""
    bright = take_rows(raw[: height * step], height, width, step)
    colours = take_rows(raw[height * step :], height, 2 * width, 2 * step).reshape(height, width, 2)
    pairs = np.empty((height, width, 2, 2), np.uint8)  # each pixel twice, as the two that share a colour in UYVY
    pairs[..., 0], pairs[..., 1] = colours, bright[..., None]
    rgb = _convert(pairs.reshape(height, 2 * width, 2), cv2.COLOR_YUV2RGB_UYVY, NV24)
    return np.ascontiguousarray(rgb[:, ::2])


def _convert(pixels: Array, code: int, name: str) -> Array:
    try:
        return cv2.cvtColor(pixels, code)
    except cv2.error as error:
        raise InputError(
            f"the image cannot be converted from `{name}`: {error.err or error}",
            hint="is it at least 2 x 2 pixels large?",
        ) from error
