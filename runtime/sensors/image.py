"""Camera frames to image tensors.

Frames of 16 bits use all of them, or the number that `input.significant_bits` declares. One that fills 8 or 12 bits as
a camera of so many does (`plausible.narrow_range`) would come out black and is refused until that is declared: 16 for a
frame that is dark.
"""

from __future__ import annotations

import os
from typing import cast

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.declared import (
    ACCEPT,
    as_declared,
    declare,
    other_order,
    significant_bits,
)  # fmt: skip
from advcal_edge.runtime.sensors.files.image_file import read_picture
from advcal_edge.runtime.sensors.frame import Array, Frame, check_extent, describe, fit
from advcal_edge.runtime.sensors.plausible import narrow_range, seems_swapped
from advcal_edge.spec import Modality

GIVE = "give the camera's picture as it is: a numpy array, or one frame in a png or npy file"
ROWS = 32
"""Rows of a frame of 16 bits that are converted at a time."""
EXPECTED = "uint8 or uint16 RGB (h, w, 3), grey (h, w) or RGBA (h, w, 4)"


def check_image(frame: object, where: str, modality: Modality) -> Array:
    """Return `frame` if it is a camera frame.

    Raises:
        InputError: not an array, another shape or dtype, or 16 bits that are not those that are declared.
    """
    frame = check_extent(frame, EXPECTED, where, GIVE)
    if frame.dtype.kind != "u" or frame.dtype.itemsize > 2:
        raise InputError(
            f"{where} is {describe(frame)}; expected {EXPECTED}",
            hint="raw frames are integers of 8 or 16 bits: of a float picture in [0, 1]"
            " `numpy.rint(frame * 65535).astype('uint16')`",
        )
    if frame.ndim == 3 and frame.shape[2] not in (1, 3, 4):
        hint = "channels come last: `frame.transpose(1, 2, 0)`" if frame.shape[0] in (1, 3, 4) else GIVE
        raise InputError(f"{where} is {describe(frame)}; expected {EXPECTED}", hint=hint)
    if frame.dtype.itemsize == 2:
        _check_bits(as_declared(_colours(frame), modality), where, modality)
    return frame


def image_tensor(frame: Array, modality: Modality) -> NDArray[np.float32]:
    """A checked frame as (3, h, w) in [0, 1], every value k / 255.

    The resize runs in uint8, so a clean sample lies exactly on the sensor's 8-bit grid; alpha is dropped.
    """
    _, height, width = modality.input.shape
    colours = as_declared(_colours(frame), modality)
    fitted = fit(_eight_bits(colours, significant_bits(modality)), height, width).reshape(height, width, -1)
    planes = np.broadcast_to(fitted.transpose(2, 0, 1), (3, height, width))
    x: NDArray[np.float32] = np.divide(planes, 255, dtype=np.float32)
    return x


def _colours(frame: Array) -> Array:
    return frame.reshape(*frame.shape[:2], -1)[:, :, :3]


def _check_bits(colours: Array, where: str, modality: Modality) -> None:
    """Raises InputError for colours of 16 bits whose values are not stored as declared."""
    bits, top = significant_bits(modality), int(colours.max())
    if bits and top >= 2**bits:
        raise InputError(
            f"{where} has values up to {top}; expected at most {2**bits - 1} with {bits} significant bits declared",
            hint=f"{declare('significant_bits', top.bit_length())} is the least that holds them",
        )
    if modality.assumes_units:
        return
    middle = colours[:, :, colours.shape[2] // 2]
    if seems_swapped(middle):
        raise InputError(
            f"{where} has neighbours that differ like noise; expected alike ones, as once the bytes of each"
            " value are swapped",
            hint=f"{declare('byte_order', other_order(modality))} reads it so; {ACCEPT}",
        )
    narrow = 0 if bits else narrow_range(colours)
    if narrow:
        raise InputError(
            f"{where} is {colours.dtype} with values up to {top}, as of a camera of {narrow} bits;"
            " expected all 16 bits in use",
            hint=f"{declare('significant_bits', narrow)} for such a camera, or {declare('significant_bits', 16)}"
            " if the frame is dark",
        )


def _eight_bits(frame: Array, bits: int) -> NDArray[np.uint8]:
    if frame.dtype.itemsize == 1:
        return frame.astype(np.uint8, copy=False)
    scale = (2 ** (bits or 16) - 1) / 255  # 257 of 16 bits: full scale is preserved
    levels = np.empty(frame.shape, np.uint8)
    for first in range(0, len(frame), ROWS):  # floats of a whole frame would be fetched from the system for each frame
        part = frame[first : first + ROWS] / np.float32(scale)
        np.minimum(np.rint(part, out=part), 255, out=part)
        levels[first : first + ROWS] = part
    return levels


class _Image:
    """Implements `Sensor`."""

    frame_axes = 3

    def read(self, path: str | os.PathLike[str], modality: Modality) -> Frame:
        picture = read_picture(path)
        values, scale = picture.values, picture.full_scale
        if not scale or values.dtype.kind != "u" or scale == np.iinfo(values.dtype).max or significant_bits(modality):
            return values
        return np.rint(values * (np.iinfo(values.dtype).max / scale)).astype(values.dtype)

    def check(self, frame: object, where: str, modality: Modality) -> Frame:
        return check_image(frame, where, modality)

    def tensors(self, frame: Frame, modality: Modality, clips: int) -> NDArray[np.float32]:
        return image_tensor(cast(Array, frame), modality)[None]


IMAGE = _Image()
