"""Depth frames to tensors: as disparity, or as distance.

`DEPTH` gives the share of the largest disparity, clip(baseline * focal length / z / largest disparity, 0, 1), in which
the error of a stereo or structured-light camera is uniform. With the defaults of `spec.depth` the bounds [0, 1] span
77.85 pixels, from infinitely far to 0.5 m; eps 4/255 is 1.2 pixels: 8 mm at 0.5 m, 28 cm at 3 m. The unit is that of
ImageBind (Girdhar et al., arXiv 2305.05665), after Omnivore (Girdhar et al., arXiv 2201.08377).
`RANGE` gives the share of the farthest distance, clip(z / far_m, 0, 1), which LanguageBind takes (Zhu et al.,
arXiv 2310.01852); with 10 m, eps 4/255 is 16 cm at any distance.

Raw frames hold metres (floats) or millimetres (uint16). With `raw_disparity` 1 they hold disparities in pixels (floats)
or in 1/256 pixel (uint16, as in KITTI). 0, NaN and infinity mean that no light returned: such pixels have disparity
0, infinitely far, and for `RANGE` the nearest distance, as in LanguageBind's training. Frames are resized by nearest
neighbour: an average over an edge or a hole would be a surface that does not exist.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import ConfigError, InputError
from advcal_edge.runtime.sensors.files.image_file import decode_file
from advcal_edge.runtime.sensors.frame import Array, Frame, check_extent, describe
from advcal_edge.runtime.sensors.grid import snap
from advcal_edge.spec import Modality

GIVE = "give the camera's 16-bit stream: a numpy array, or one frame in a png, tiff or npy file"
EXPECTED = "one channel (h, w): uint16 millimetres, or float32 metres"

FARTHEST_M = 1000.0
"""The maximum range of a robot's depth sensor: larger numbers are millimetres, or not distances."""

WIDEST_PX = 16384.0
"""A disparity cannot be wider than the frame."""

NEAREST_M = 0.01
"""The lower end of distance in LanguageBind."""


def check_depth(frame: object, where: str, *, disparity: bool) -> Array:
    """Return `frame` if it is a depth frame.

    Raises:
        InputError: not an array, another shape or dtype, negative or implausible values, or no return in any pixel.
    """
    frame = check_extent(frame, EXPECTED, where, GIVE)
    floats = frame.dtype.kind == "f" and frame.dtype.itemsize in (4, 8)
    if not (floats or (frame.dtype.kind == "u" and frame.dtype.itemsize == 2)):
        hint = "`frame.astype('uint16')` if these are millimetres" if frame.dtype.kind in "iu" else GIVE
        if frame.dtype.itemsize == 1:
            hint = "eight bits are a picture of depth; record the camera's 16-bit stream"
        raise InputError(f"{where} is {describe(frame)}; expected {EXPECTED}", hint=hint)
    if frame.ndim == 3 and frame.shape[2] != 1:
        hint = "colours of depth cannot be undone; record the camera's 16-bit stream"
        raise InputError(f"{where} is {describe(frame)}; expected {EXPECTED}", hint=hint)
    returned = frame[np.isfinite(frame) & (frame != 0)]
    if returned.size == 0:
        raise InputError(f"{where} has no return in any pixel; expected at least one distance", hint="covered lens?")
    _check_values(returned, where, disparity=disparity)
    return frame


def pick_nearest(frame: Array, height: int, width: int) -> Array:
    """Centre-crop to the aspect ratio of (height, width) and take the pixel under the centre of each new pixel."""
    scale = min(frame.shape[0] / height, frame.shape[1] / width)
    rows = frame.shape[0] / 2 + (np.arange(height) + 0.5 - height / 2) * scale
    columns = frame.shape[1] / 2 + (np.arange(width) + 0.5 - width / 2) * scale
    picked: Array = frame[rows.astype(np.intp)[:, None], columns.astype(np.intp)]
    return picked


def _check_values(returned: Array, where: str, *, disparity: bool) -> None:
    if returned.dtype.kind == "u":
        return
    low, high = float(returned.min()), float(returned.max())
    largest, unit = (WIDEST_PX, "pixels") if disparity else (FARTHEST_M, "metres")
    if low < 0 or high > largest:
        raise InputError(
            f"{where} spans [{low:g}, {high:g}] {unit}; expected (0, {largest:g}]",
            hint="millimetres are read from uint16: `frame.astype('uint16')`"
            if low >= 0 and not disparity
            else "a pixel without a return is 0 or NaN, not a negative or a huge number",
        )


def _setting(modality: Modality, name: str) -> float:
    value = modality.number(name)
    if not value > 0:
        raise ConfigError(f"`input.{name}` is {value:g}; expected a positive number")
    return value


@dataclass(frozen=True, slots=True)
class _Depth:
    """Implements `Sensor`; `inverse` gives disparity, else distance."""

    inverse: bool
    frame_axes: int = 3

    def read(self, path: str | os.PathLike[str], modality: Modality) -> Frame:
        return decode_file(path)

    def check(self, frame: object, where: str, modality: Modality) -> Frame:
        return check_depth(frame, where, disparity=self._takes_disparity(modality))

    def tensors(self, frame: Frame, modality: Modality, clips: int) -> NDArray[np.float32]:
        _, height, width = modality.input.shape
        frame = cast(Array, frame)
        raw = pick_nearest(frame.reshape(frame.shape[:2]), height, width)
        returned = np.isfinite(raw) & (raw != 0)
        values = np.where(returned, raw, 1).astype(np.float64)
        if self._takes_disparity(modality):
            share = values / (256 if raw.dtype.kind == "u" else 1) / _setting(modality, "max_disparity_px")
        elif self.inverse:
            metres = values / (1000 if raw.dtype.kind == "u" else 1)
            focal = _setting(modality, "baseline_m") * _setting(modality, "focal_px")
            share = focal / metres / _setting(modality, "max_disparity_px")
        else:
            metres = np.maximum(values / (1000 if raw.dtype.kind == "u" else 1), NEAREST_M)
            share = metres / _setting(modality, "far_m")
        nothing = 0.0 if self.inverse else NEAREST_M / _setting(modality, "far_m")
        return snap(np.where(returned, share, nothing), modality)[None, None]

    def _takes_disparity(self, modality: Modality) -> bool:
        return self.inverse and modality.number("raw_disparity") != 0


DEPTH = _Depth(inverse=True)
RANGE = _Depth(inverse=False)
