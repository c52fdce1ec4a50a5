"""Raw frames: checks shared by all sensors, and the resize to the encoder's input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.opencv import cv2

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Samples of a sensor over time, and their number per second."""

    values: Array
    rate: float
    unit: str = field(default="", kw_only=True)
    """Unit of the values where they have one of their own; else it is as the settings of the sensor declare."""


Frame: TypeAlias = Array | Recording
"""Output of a sensor or a file, of any size: an array, or a recording with a time scale (sound, motion)."""

NOTHING = "the sensor gave nothing; is it connected and running?"


def describe(frame: object) -> str:
    """Description of a frame for error messages: `uint8 (480, 640, 3)`."""
    if isinstance(frame, Recording):
        return f"a recording of {describe(frame.values)} at {frame.rate:g} Hz"
    return f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else f"a {type(frame).__name__}"


def check_extent(frame: object, expected: str, where: str, hint: str) -> Array:
    """Return `frame` if it is an array (h, w) or (h, w, channels) of a plausible size; `hint` says how to get one.

    Raises:
        InputError: not an array, not two- or three-dimensional, empty, or of too many pixels.
    """
    if not isinstance(frame, np.ndarray):
        raise InputError(f"{where} is {describe(frame)}; expected {expected}", hint=hint)
    if frame.ndim not in (2, 3):
        several = "give the frames one by one: `list(frames)`" if frame.ndim == 4 else hint
        raise InputError(f"{where} is {describe(frame)}; expected {expected}", hint=several)
    if frame.size == 0:
        raise InputError(f"{where} is empty: {describe(frame)}; expected {expected}", hint=NOTHING)
    limits.PIXELS.check(frame.shape[0] * frame.shape[1], f"{where}, {describe(frame)},", InputError)
    return frame


def crop_box(shape: tuple[int, ...], height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, rows and columns of the centre of a frame (h, w) that has the aspect ratio of (height, width)."""
    scale = min(shape[0] / height, shape[1] / width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    return (shape[0] - rows) // 2, (shape[1] - columns) // 2, rows, columns


def fit(frame: Array, height: int, width: int) -> Array:
    """Centre-crop to the aspect ratio of (height, width) and resize to it, in the frame's own dtype.

    The crop comes first, so that a strip of 1 x 100,000 pixels never grows to 64 x 6,400,000.
    """
    top, left, rows, columns = crop_box(frame.shape, height, width)
    cropped = frame[top : top + rows, left : left + columns]
    if (rows, columns) == (height, width) or not frame.flags.c_contiguous:
        cropped = np.ascontiguousarray(cropped)  # else OpenCV reads the rows where they are
    if (rows, columns) == (height, width):
        return cropped
    # area averages all pixels it covers, so shrinking does not alias; linear neither rings nor overshoots when growing
    shrinks = min(frame.shape[0] / height, frame.shape[1] / width) > 1
    return cv2.resize(cropped, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
