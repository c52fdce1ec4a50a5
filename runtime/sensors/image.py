"""Camera frames to image tensors."""

from __future__ import annotations

import os
from typing import cast

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.image_file import decode_file
from advcal_edge.runtime.sensors.frame import Array, Frame, check_extent, describe, fit
from advcal_edge.spec import Modality

GIVE = "give the camera's picture as it is: a numpy array, or one frame in a png or npy file"
EXPECTED = "uint8 or uint16 RGB (h, w, 3), grey (h, w) or RGBA (h, w, 4)"


def check_image(frame: object, where: str) -> Array:
    """Return `frame` if it is a camera frame.

    Raises:
        InputError: not an array, another shape or dtype.
    """
    frame = check_extent(frame, EXPECTED, where, GIVE)
    if frame.dtype.kind != "u" or frame.dtype.itemsize > 2:
        raise InputError(
            f"{where} is {describe(frame)}; expected {EXPECTED}",
            hint="raw frames are integers; tensors in [0, 1] need no preprocessing",
        )
    if frame.ndim == 3 and frame.shape[2] not in (1, 3, 4):
        hint = "channels come last: `frame.transpose(1, 2, 0)`" if frame.shape[0] in (1, 3, 4) else GIVE
        raise InputError(f"{where} is {describe(frame)}; expected {EXPECTED}", hint=hint)
    return frame


def image_tensor(frame: Array, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A checked frame as (3, h, w) in [0, 1], every value k / 255.

    The resize runs in uint8, so a clean sample lies exactly on the sensor's 8-bit grid; alpha is dropped.
    """
    _, height, width = shape
    colour = frame.reshape(*frame.shape[:2], -1)[:, :, :3]
    fitted = fit(_eight_bits(colour), height, width).reshape(height, width, -1)
    planes = np.broadcast_to(fitted.transpose(2, 0, 1), (3, height, width))
    x: NDArray[np.float32] = np.divide(planes, 255, dtype=np.float32)
    return x


def _eight_bits(frame: Array) -> NDArray[np.uint8]:
    if frame.dtype.itemsize == 1:
        return frame.astype(np.uint8, copy=False)
    return np.rint(frame / np.float32(257)).astype(np.uint8)  # 65535 / 257 = 255: full scale is preserved


class _Image:
    """Implements `Sensor`."""

    frame_axes = 3

    def read(self, path: str | os.PathLike[str], modality: Modality) -> Frame:
        return decode_file(path)

    def check(self, frame: object, where: str, modality: Modality) -> Frame:
        return check_image(frame, where)

    def tensors(self, frame: Frame, modality: Modality, clips: int) -> NDArray[np.float32]:
        return image_tensor(cast(Array, frame), modality.input.shape)[None]


IMAGE = _Image()
