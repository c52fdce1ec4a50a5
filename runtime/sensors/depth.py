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

from advcal_edge.declarations import DECLARATIONS
from advcal_edge.errors import ConfigError, InputError
from advcal_edge.runtime.sensors.declared import ACCEPT, as_declared, declare, is_accepted, other_order
from advcal_edge.runtime.sensors.files.image_file import decode_file
from advcal_edge.runtime.sensors.frame import Array, Frame, check_extent, describe
from advcal_edge.runtime.sensors.grid import snap
from advcal_edge.runtime.sensors.holes import cut_rows, find_holes, parse_invalid
from advcal_edge.runtime.sensors.plausible import excerpt, seems_swapped
from advcal_edge.spec import Modality

GIVE = "give the camera's 16-bit stream: a numpy array, or one frame in a png, tiff or npy file"
EXPECTED = "one channel (h, w): uint16 counts, or float32 metres"

FARTHEST_M = 1000.0
"""The maximum range of a robot's depth sensor: larger numbers are millimetres, or not distances."""

MIDDLE_M = (0.02, 100.0)
"""Metres of a frame's median: nearer than any camera sees, and farther than any scene is on the whole."""

WIDEST_PX = 16384.0
"""A disparity cannot be wider than the frame."""

NEAREST_M = 0.01
"""The lower end of distance in LanguageBind."""

FULL = 2**16 - 1
"""The largest count: out of range."""

ROTATED = 3
"""Bits by which SUN RGB-D rotates its counts to the left."""

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
    _check_values(plane, returned, where, modality, disparity=disparity)
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


def has_return(plane: Array, modality: Modality) -> NDArray[np.bool_]:
    """Pixels of a plane (h, w) in which light returned."""
    returned = np.isfinite(plane) & (plane != 0) & ~find_holes(plane, parse_invalid(modality.text("invalid")))
    return np.asarray(returned & (plane != FULL) if plane.dtype.kind == "u" else returned)


def to_metres(plane: Array, modality: Modality) -> NDArray[np.float64]:
    """Counts or floats in metres, by the declared scale; undeclared counts are millimetres, where that is accepted."""
    scale = modality.text("depth_scale")
    if plane.dtype.kind == "u" and scale == "sunrgbd":
        plane = (plane >> ROTATED) | (plane << (16 - ROTATED))
    undeclared = 1e-3 if plane.dtype.kind == "u" else 1.0
    metres: NDArray[np.float64] = plane.astype(np.float64) * (modality.number("depth_scale") if scale else undeclared)
    return metres


def _plane(frame: Array, modality: Modality) -> Array:
    """The only channel (h, w) in the declared byte order, without rows of telemetry."""
    plane = cut_rows(frame.reshape(frame.shape[:2]), parse_invalid(modality.text("invalid")))
    return as_declared(plane, modality)


def _check_values(
    plane: Array, returned: NDArray[np.bool_], where: str, modality: Modality, *, disparity: bool
) -> None:
    counts = plane.dtype.kind == "u"
    if not counts:
        _check_extremes(plane[returned], where, modality, disparity=disparity)
    if is_accepted(modality):
        return
    part, there = excerpt(plane, returned)
    middle = float(np.median(part[there])) if there is not None and there.any() else float(np.median(plane[returned]))
    if counts and not disparity and not modality.text("depth_scale"):
        raise InputError(
            f"{where} is uint16 with a median of {middle:.0f} counts, and nothing says how long one is; expected"
            " `input.depth_scale`",
            hint=_scales(plane.dtype.type(middle)),
        )
    if counts and seems_swapped(plane, returned):
        raise InputError(
            f"{where} has neighbours that differ like noise; expected alike ones, as once the bytes of each"
            " count are swapped",
            hint=f"{declare('byte_order', other_order(modality))} reads it so; {ACCEPT}",
        )
    if disparity:
        return
    metres = float(to_metres(np.array([middle], plane.dtype), modality)[0])
    if not MIDDLE_M[0] <= metres <= MIDDLE_M[1]:
        stated = modality.text("depth_scale") or "m"
        hint = f"{declare('depth_scale', 'mm')} makes it {middle / 1000:.3g} m; {ACCEPT}"
        if counts:
            hint = _scales(plane.dtype.type(middle))
        elif metres < MIDDLE_M[0]:
            hint = f"{declare('depth_scale', 'm')} makes it {middle:.3g} m; {ACCEPT}"
        raise InputError(
            f"{where} is {plane.dtype} with a median of {metres:.4g} m at a depth scale of `{stated}`; expected one"
            f" between {MIDDLE_M[0]:g} and {MIDDLE_M[1]:g} m",
            hint=hint,
        )


def _check_extremes(returned: Array, where: str, modality: Modality, *, disparity: bool) -> None:
    if not disparity and modality.text("depth_scale") == "sunrgbd":
        raise InputError(
            f"{where} is {returned.dtype}; expected the 16-bit counts that `input.depth_scale=sunrgbd` names",
            hint=f"{declare('depth_scale', 'm')} or {declare('depth_scale', 'mm')} for floats",
        )
    values = returned.astype(np.float64) if disparity else to_metres(returned, modality)
    low, high = float(values.min()), float(values.max())
    largest, unit = (WIDEST_PX, "pixels") if disparity else (FARTHEST_M, "metres")
    if low < 0 or high > largest:
        millimetres = not disparity and low >= 0 and not modality.text("depth_scale")
        raise InputError(
            f"{where} spans [{low:g}, {high:g}] {unit}; expected (0, {largest:g}]",
            hint=f"{declare('depth_scale', 'mm')} if these are millimetres; {declare('invalid', f'{high:g}')} if"
            f" {high:g} means that nothing returned"
            if millimetres
            else f"a pixel without a return is 0 or NaN; `input.invalid` names other values, like"
            f" {declare('invalid', f'{low if low < 0 else high:g}')}",
        )


def _scales(middle: np.generic) -> str:
    """What each scale that has a name makes of a count."""
    ways = []
    for name, scale in DECLARATIONS["depth_scale"].names.items():
        count = int(middle)
        if name == "sunrgbd":
            count = (count >> ROTATED) | (count << (16 - ROTATED)) & FULL
        if MIDDLE_M[0] <= count * scale <= MIDDLE_M[1]:
            ways.append(f"`{name}` {count * scale:.3g} m")
    return (
        f"{declare('depth_scale', 'mm')} for most cameras, or another scale, or metres a count; the median is as"
        f" {', '.join(ways) or 'none of the named scales a distance of 2 cm to 100 m'}"
    )


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
