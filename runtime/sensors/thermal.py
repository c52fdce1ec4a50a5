"""Thermal frames to tensors, through the linear gain control (AGC) that thermal cameras apply."""

from __future__ import annotations

import os
from typing import cast

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.image_file import decode_file
from advcal_edge.runtime.sensors.files.opencv import cv2
from advcal_edge.runtime.sensors.frame import Array, Frame, check_extent, describe, fit
from advcal_edge.spec import Modality

GIVE = "give the camera's grey or radiometric frame: a numpy array, or one frame in a png, tiff or npy file"
EXPECTED = "one channel (h, w): uint8 after gain control, uint16 counts, or float degrees"

KELVIN_PER_COUNT = 0.01
"""The usual scale of radiometric cores with 14- or 16-bit output in their high-resolution mode."""

PERCENTILES = (0.5, 99.5)
"""Percentiles of the window: dead pixels and a sun glint must not determine the contrast of the whole frame."""

MINIMUM_SPAN = 5.0
"""Kelvin. An uncooled sensor's noise of 50 mK then stays at one percent of the range, even for a uniform scene."""

TINT = 8
"""Levels between the planes of a grey picture, in all but a thousandth of its pixels; a palette has a hundred."""

PLAUSIBLE = (-273.15, 10_000.0)
"""Kelvin or degrees Celsius: values outside are not temperatures in either unit."""


def check_thermal(frame: object, where: str) -> Array:
    """Return `frame` if it is a thermal frame.

    Raises:
        InputError: not an array, another shape or dtype, false colours, NaN, or values that are not temperatures.
    """
    frame = check_extent(frame, EXPECTED, where, GIVE)
    if frame.dtype.kind not in "uf" or (frame.dtype.kind == "u" and frame.dtype.itemsize > 2):
        hint = "counts are unsigned: `frame.astype('uint16')`" if frame.dtype.kind in "iu" else GIVE
        raise InputError(f"{where} is {describe(frame)}; expected {EXPECTED}", hint=hint)
    if frame.ndim == 3 and frame.shape[2] != 1 and not _is_grey(frame):
        raise InputError(
            f"{where} is {describe(frame)}; expected {EXPECTED}",
            hint="a palette of false colours cannot be undone; record the camera's grey or radiometric stream",
        )
    if frame.dtype.kind == "f":
        low, high = float(frame.min()), float(frame.max())  # NaN propagates through both
        if not (PLAUSIBLE[0] <= low and high <= PLAUSIBLE[1]):
            raise InputError(
                f"{where} spans [{low:g}, {high:g}] degrees; expected finite values within"
                f" [{PLAUSIBLE[0]:g}, {PLAUSIBLE[1]:g}]",
                hint="for dead pixels `frame[~numpy.isfinite(frame)] = numpy.nanmedian(frame)`; raw counts are uint16",
            )
    return frame


def thermal_tensor(frame: Array, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A checked frame as (1, h, w) in [0, 1], every value k / 255: cameras stream the windowed frame at eight bits."""
    _, height, width = shape
    plane = frame.reshape(*frame.shape[:2], -1)[:, :, 0]
    if plane.dtype.itemsize == 1:
        grey = fit(plane.astype(np.uint8, copy=False), height, width)
    else:
        scale = KELVIN_PER_COUNT if plane.dtype.kind == "u" else 1.0
        grey = np.rint(255 * fit(agc_window(plane * np.float32(scale)), height, width))
    x: NDArray[np.float32] = np.divide(grey, 255, dtype=np.float32)[None]
    return x


def agc_window(kelvin: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map temperatures (h, w) linearly to [0, 1] between the percentiles, over `MINIMUM_SPAN` kelvin or more."""
    kelvin = kelvin.astype(np.float32, copy=False)
    low, high = np.percentile(kelvin, PERCENTILES)
    span = max(high - low, MINIMUM_SPAN)
    start = (low + high - span) / 2  # a window wider than the scene is centred on the scene
    window: NDArray[np.float32] = np.clip((kelvin - np.float32(start)) / np.float32(span), 0, 1)
    return window


def _is_grey(frame: Array) -> bool:
    """Does an array of three channels hold the same plane three times, as many recorders write it?

    At eight bits the planes may differ by what the compression of a film or a JPEG leaves between them.
    """
    if frame.shape[2] != 3:
        return False
    first, *others = (np.ascontiguousarray(frame[:, :, channel]) for channel in range(3))
    if frame.dtype != np.uint8:
        return all(np.array_equal(first, other) for other in others)
    return all(np.count_nonzero(cv2.absdiff(first, other) > TINT) <= first.size // 1000 for other in others)


class _Thermal:
    """Implements `Sensor`."""

    frame_axes = 3

    def read(self, path: str | os.PathLike[str], modality: Modality) -> Frame:
        return decode_file(path)

    def check(self, frame: object, where: str, modality: Modality) -> Frame:
        return check_thermal(frame, where)

    def tensors(self, frame: Frame, modality: Modality, clips: int) -> NDArray[np.float32]:
        return thermal_tensor(cast(Array, frame), modality.input.shape)[None]


THERMAL = _Thermal()
