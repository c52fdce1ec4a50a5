"""Depth frames to tensors: as disparity, or as distance.

`DEPTH` gives the share of the largest disparity, clip(baseline * focal length / z / largest disparity, 0, 1), in which
the error of a stereo or structured-light camera is uniform. With the defaults of `spec.depth` the bounds [0, 1] span
77.85 pixels, from infinitely far to 0.5 m; eps 4/255 is 1.2 pixels: 8 mm at 0.5 m, 28 cm at 3 m. The unit is that of
ImageBind (Girdhar et al., arXiv 2305.05665), after Omnivore (Girdhar et al., arXiv 2201.08377).
`RANGE` gives the share of the farthest distance, clip(z / far_m, 0, 1), which LanguageBind takes (Zhu et al.,
arXiv 2310.01852); with 10 m, eps 4/255 is 16 cm at any distance.

Raw frames hold metres (floats), or counts (uint16) of `input.depth_scale` metres, which has no default: cameras differ.
With `raw_disparity` 1 they hold disparities in pixels (floats) or in 1/256 pixel (uint16, as in KITTI). 0, NaN,
infinity, the largest count 65535 and what `input.invalid` declares mean that no light returned: such pixels have
disparity 0, infinitely far, and for `RANGE` the nearest distance, as in LanguageBind's training. Frames are resized by
nearest neighbour: an average over an edge or a hole would be a surface that does not exist.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import ConfigError, InputError
from advcal_edge.runtime.sensors.declared import as_declared
from advcal_edge.runtime.sensors.distance import FULL, check_distances, has_return, to_metres
from advcal_edge.runtime.sensors.files.image_file import decode_file
from advcal_edge.runtime.sensors.frame import Array, Frame, check_extent, describe
from advcal_edge.runtime.sensors.grid import snap
from advcal_edge.runtime.sensors.holes import cut_rows, declared_invalid
from advcal_edge.spec import Modality

GIVE = "give the camera's 16-bit stream: a numpy array, or one frame in a png, tiff or npy file"
EXPECTED = "one channel (h, w): uint16 counts, or float32 metres"

NEAREST_M = 0.01
"""The lower end of distance in LanguageBind."""

DISPARITY_COUNTS = 256
"""Counts of a pixel of disparity, as in KITTI."""


def check_depth(frame: object, where: str, modality: Modality, *, disparity: bool) -> Array:
    """Return `frame` if it is a depth frame.

    Raises:
        InputError: not an array, another shape or dtype, counts without a scale, values that contradict it, or no
            return in any pixel.
    """
    frame = check_extent(frame, EXPECTED, where, GIVE)
    if (frame.dtype.kind, frame.dtype.itemsize) not in {("u", 2), ("f", 2), ("f", 4), ("f", 8)}:
        raise InputError(f"{where} is {describe(frame)}; expected {EXPECTED}", hint=_retype(frame))
    if frame.ndim == 3 and frame.shape[2] != 1:
        hint = "colours of depth cannot be undone; record the camera's 16-bit stream"
        raise InputError(f"{where} is {describe(frame)}; expected {EXPECTED}", hint=hint)
    plane = _plane(frame, modality)
    returned = has_return(plane, modality)
    if not returned.any():
        raise InputError(f"{where} has no return in any pixel; expected at least one distance", hint="covered lens?")
    check_distances(plane, returned, where, modality, disparity=disparity)
    return frame


def pick_nearest(frame: Array, height: int, width: int) -> Array:
    """Centre-crop to the aspect ratio of (height, width) and take the pixel under the centre of each new pixel."""
    scale = min(frame.shape[0] / height, frame.shape[1] / width)
    rows = frame.shape[0] / 2 + (np.arange(height) + 0.5 - height / 2) * scale
    columns = frame.shape[1] / 2 + (np.arange(width) + 0.5 - width / 2) * scale
    picked: Array = frame[rows.astype(np.intp)[:, None], columns.astype(np.intp)]
    return picked


def measure_metres(frame: Array, modality: Modality) -> NDArray[np.float64]:
    """Distances (h, w) of a checked frame, NaN where nothing returned."""
    plane = _plane(frame, modality)
    return np.where(has_return(plane, modality), to_metres(plane, modality), np.nan)


def _plane(frame: Array, modality: Modality) -> Array:
    """The only channel (h, w) in the declared byte order, without rows of telemetry."""
    plane = cut_rows(frame.reshape(frame.shape[:2]), declared_invalid(modality))
    return as_declared(plane, modality)


def _retype(frame: Array) -> str:
    """How to give a frame of another type without losing what it holds."""
    if frame.dtype.itemsize == 1:
        return "eight bits are a picture of depth; record the camera's 16-bit stream"
    if frame.dtype.kind in "iu" and int(frame.min()) >= 0 and int(frame.max()) <= FULL:
        return "its counts fit into 16 bits: `frame.astype('uint16')` keeps them"
    if frame.dtype.kind in "iu":
        return "give metres: the counts times their scale, as float32, with 0 or NaN where nothing returned"
    return GIVE


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
        return check_depth(frame, where, modality, disparity=self._takes_disparity(modality))

    def tensors(self, frame: Frame, modality: Modality, clips: int) -> NDArray[np.float32]:
        _, height, width = modality.input.shape
        raw = pick_nearest(_plane(cast(Array, frame), modality), height, width)
        returned = has_return(raw, modality)
        raw = np.where(returned, raw, raw.dtype.type(1))
        if self._takes_disparity(modality):
            pixels = raw.astype(np.float64) / (DISPARITY_COUNTS if raw.dtype.kind == "u" else 1)
            share = pixels / _setting(modality, "max_disparity_px")
        elif self.inverse:
            focal = _setting(modality, "baseline_m") * _setting(modality, "focal_px")
            share = focal / to_metres(raw, modality) / _setting(modality, "max_disparity_px")
        else:
            share = np.maximum(to_metres(raw, modality), NEAREST_M) / _setting(modality, "far_m")
        nothing = 0.0 if self.inverse else NEAREST_M / _setting(modality, "far_m")
        return snap(np.where(returned, share, nothing), modality)[None, None]

    def _takes_disparity(self, modality: Modality) -> bool:
        takes = self.inverse and modality.number("raw_disparity") != 0
        if takes and modality.text("depth_scale"):
            raise ConfigError(
                f"`input.depth_scale` is {modality.text('depth_scale')} and `input.raw_disparity` is 1;"
                " expected one of the two",
                hint="frames hold distances, or disparities; the latter are in pixels, or in 1/256 pixel of 16 bits",
            )
        return takes


DEPTH = _Depth(inverse=True)
RANGE = _Depth(inverse=False)
