"""Thermal frames to tensors, through the linear gain control (AGC) that thermal cameras apply.

Counts are 0.01 K each from 0 K unless `input.kelvin_per_count` and `input.kelvin_offset` declare something else; counts
of no known unit (`raw`) get their contrast as at 0.01 K. What `input.invalid` declares, and what is colder than
anything, are holes: they take no part in the gain control and are filled with the nearest measured pixel, so that they
make no contrast. Pixels beside the latter are holes too, since a warped frame mixes them. Frames of 8 bits, and those
that declare 8 significant bits, went through a gain control already.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.declared import ACCEPT, as_declared, declare, significant_bits
from advcal_edge.runtime.sensors.files.image_file import Picture, read_picture
from advcal_edge.runtime.sensors.files.opencv import cv2
from advcal_edge.runtime.sensors.files.sensor_file import quoted
from advcal_edge.runtime.sensors.frame import Array, Frame, check_extent, describe, fit
from advcal_edge.runtime.sensors.holes import cut_rows, declared_invalid, fill_holes, find_holes, grow
from advcal_edge.runtime.sensors.temperature import IMPOSSIBLE, check_temperatures
from advcal_edge.spec import Modality

GIVE = "give the camera's grey or radiometric frame: a numpy array, or one frame in a png, tiff or npy file"
EXPECTED = "one channel (h, w): uint8 after gain control, uint16 or int16 counts, or float degrees"

KELVIN_PER_COUNT = 0.01
"""The usual scale of radiometric cores with 14- or 16-bit output in their high-resolution mode."""

KELVIN_FROM = 200.0
"""A float frame with a larger median and values at or below 0 is in kelvin: no scene in Celsius has both."""

PERCENTILES = (0.5, 99.5)
"""Percentiles of the window: dead pixels and a sun glint must not determine the contrast of the whole frame."""

MINIMUM_SPAN = 5.0
"""Kelvin. An uncooled sensor's noise of 50 mK then stays at one percent of the range, even for a uniform scene."""

COUNTABLE = 2**24
"""Pixels below which OpenCV counts exactly: its histograms hold floats."""

TINT = 8
"""Levels between the planes of a grey picture, in all but a thousandth of its pixels; a palette has a hundred."""


def check_thermal(frame: object, where: str, modality: Modality) -> Array:
    """Return `frame` if it is a thermal frame.

    Raises:
        InputError: not an array, another shape or dtype, false colours, or values that contradict their unit.
    """
    frame = check_extent(frame, EXPECTED, where, GIVE)
    if not _is_readable(frame.dtype):
        raise InputError(f"{where} is {describe(frame)}; expected {EXPECTED}", hint=_retype(frame))
    if frame.ndim == 3 and frame.shape[2] != 1 and not _is_grey(frame):
        raise InputError(
            f"{where} is {describe(frame)}; expected {EXPECTED}",
            hint="a palette of false colours cannot be undone; record the camera's grey or radiometric stream",
        )
    plane = _plane(frame, modality)
    if plane.size == 0:
        raise InputError(
            f"{where} is {describe(frame)}; expected more rows than the {modality.text('invalid')} that are cut off",
            hint=f"{declare('invalid', 'rows:-2')} cuts two rows off at the bottom",
        )
    bits = significant_bits(modality)
    if bits and plane.dtype.kind in "iu" and plane.dtype.itemsize == 2 and int(plane.max()) >= 2**bits:
        raise InputError(
            f"{where} has counts up to {plane.max()}; expected at most {2**bits - 1}"
            f" with {bits} significant bits declared",
            hint=f"{declare('significant_bits', int(plane.max()).bit_length())} is the least that holds them",
        )
    if not is_grey_level(plane, modality):
        check_temperatures(plane, where, modality)
    return frame


def thermal_tensor(frame: Array, modality: Modality) -> NDArray[np.float32]:
    """A checked frame as (1, h, w) in [0, 1], every value k / 255: cameras stream the windowed frame at eight bits."""
    _, height, width = modality.input.shape
    plane = _plane(frame, modality)
    if is_grey_level(plane, modality):
        levels = plane.astype(np.uint8, copy=False)
        grey = fit(fill_holes(levels, find_holes(levels, declared_invalid(modality))), height, width)
    else:
        degrees, holes = measure_degrees(frame, modality)
        ends = _count_ends(plane, modality, holes)
        filled = fill_holes(degrees, holes)
        ours = None if np.may_share_memory(filled, frame) else filled
        grey = np.rint(255 * fit(agc_window(filled, holes, ends, ours), height, width))
    x: NDArray[np.float32] = np.divide(grey, 255, dtype=np.float32)[None]
    return x


def measure_degrees(frame: Array, modality: Modality) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Temperatures (h, w) of a checked frame, and its holes; kelvin, or the unit of a float frame.

    Counts of no known unit (`raw`) are multiplied by 0.01.
    """
    plane = _plane(frame, modality)
    holes = find_holes(plane, declared_invalid(modality))
    if plane.dtype.kind == "f":
        frozen = ~holes & (plane <= 0)
        if frozen.any() and not modality.assumes_units and np.median(plane[~holes]) > KELVIN_FROM:
            holes = holes | grow(frozen)  # these are kelvin, and that is 0 K
        return plane.astype(np.float32, copy=False), holes
    kelvin = _to_kelvin(plane, modality)
    if modality.number("kelvin_per_count"):
        freezing = 0 if modality.assumes_units else IMPOSSIBLE
        if kelvin.min() <= freezing:
            holes = holes | grow(kelvin <= freezing)
    return kelvin, np.zeros_like(holes) if holes.all() else holes


def _to_kelvin(counts: Array, modality: Modality) -> NDArray[np.float32]:
    scale = modality.number("kelvin_per_count")
    kelvin = counts.astype(np.float32)
    kelvin *= np.float32(scale or KELVIN_PER_COUNT)
    if scale:
        kelvin += np.float32(modality.number("kelvin_offset"))
    return kelvin


def _count_ends(plane: Array, modality: Modality, holes: NDArray[np.bool_] | None = None) -> tuple[float, float] | None:
    """The percentiles of a plane of counts in kelvin, bit for bit as of its pixels, in a fifth of the time; else None.

    Counting finds the pixels around each percentile; kelvin rise with counts, so they are the same pixels. Holes are
    not counted.
    """
    if plane.dtype != np.uint16 or plane.size >= COUNTABLE:
        return None
    mask = None if holes is None or not holes.any() else (~holes).view(np.uint8)
    size = plane.size if mask is None else int(np.count_nonzero(mask))
    lowest, highest = int(plane.min()), int(plane.max())
    bins, ends = [highest - lowest + 1], [lowest, highest + 1]
    upto = np.cumsum(cv2.calcHist([np.ascontiguousarray(plane)], [0], mask, bins, ends).ravel(), dtype=np.int64)
    place = np.array(PERCENTILES) / 100 * (size - 1)
    below = np.floor(place)
    ranks = np.stack([below, np.minimum(below + 1, size - 1)])
    left, right = _to_kelvin(np.searchsorted(upto, ranks, side="right") + lowest, modality)
    share, apart = place - below, right - left
    low, high = np.where(share < 0.5, left + apart * share, right - apart * (1 - share))  # as NumPy rounds
    return float(low), float(high)


def agc_window(
    kelvin: NDArray[np.float32],
    holes: NDArray[np.bool_] | None = None,
    ends: tuple[float, float] | None = None,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Map temperatures (h, w) linearly to [0, 1] between the percentiles, over `MINIMUM_SPAN` kelvin or more.

    Holes do not count for the percentiles. `ends` are the percentiles, where they are known. `out` may be `kelvin`:
    every array of a whole frame that is made and freed gives its pages back to the system and faults them in again.
    """
    kelvin = kelvin.astype(np.float32, copy=False)
    if ends is None:
        low, high = np.percentile(kelvin if holes is None or not holes.any() else kelvin[~holes], PERCENTILES)
    else:
        low, high = ends
    span = max(high - low, MINIMUM_SPAN)
    start = (low + high - span) / 2  # a window wider than the scene is centred on the scene
    window: NDArray[np.float32] = np.subtract(kelvin, np.float32(start), out=out)
    window /= np.float32(span)
    return np.clip(window, 0, 1, out=window)


def _plane(frame: Array, modality: Modality) -> Array:
    """The only channel (h, w) in the declared byte order, without rows of telemetry."""
    plane = frame.reshape(*frame.shape[:2], -1)[:, :, 0]
    return as_declared(cut_rows(plane, declared_invalid(modality)), modality)


def is_grey_level(plane: Array, modality: Modality) -> bool:
    """Did the frame go through a gain control in the camera?"""
    return plane.dtype.itemsize == 1 or (plane.dtype.kind in "iu" and significant_bits(modality) == 8)


def _is_readable(dtype: np.dtype[np.generic]) -> bool:
    return (dtype.kind, dtype.itemsize) in {("u", 1), ("u", 2), ("i", 2), ("f", 2), ("f", 4), ("f", 8)}


def _retype(frame: Array) -> str:
    """How to give a frame of another type without losing what it holds."""
    if frame.dtype.kind not in "iu":
        return GIVE
    low, high = int(frame.min()), int(frame.max())
    if low >= 0 and high < 2**16:
        return "its counts fit into 16 bits: `frame.astype('uint16')` keeps them"
    if low >= -(2**15) and high < 2**15:
        return "its counts fit into 16 bits: `frame.astype('int16')` keeps them and their sign"
    return "give degrees: the counts times their scale, as float32"


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


def refuse_radiometric(picture: Picture, path: str | os.PathLike[str], modality: Modality) -> None:
    """Raises InputError for a picture beside which its camera stored temperatures, unless units are assumed."""
    if picture.radiometric and not modality.assumes_units:
        raise InputError(
            f"`{os.fspath(path)}` is a {picture.radiometric} radiometric JPEG: its temperatures are stored beside"
            " the picture, which shows them in colours or grey levels; expected the temperatures",
            hint=_take_out(picture.radiometric, path),
        )


class _Thermal:
    """Implements `Sensor`."""

    frame_axes = 3

    def read(self, path: str | os.PathLike[str], modality: Modality) -> Frame:
        picture = read_picture(path)
        refuse_radiometric(picture, path, modality)
        return picture.values

    def check(self, frame: object, where: str, modality: Modality) -> Frame:
        return check_thermal(frame, where, modality)

    def tensors(self, frame: Frame, modality: Modality, clips: int) -> NDArray[np.float32]:
        return thermal_tensor(cast(Array, frame), modality)[None]


def _take_out(maker: str, path: str | os.PathLike[str]) -> str:
    name = quoted(Path(path))
    if maker == "FLIR":
        return (
            f"`exiftool -b -RawThermalImage {name} > raw.png` takes them out;"
            f" declare {declare('kelvin_per_count', 'raw')}, and"
            f" {declare('byte_order', 'swapped')} if it is refused without"
        )
    return (
        f"`dji_irp -s {name} -a measure -o celsius.raw` of DJI's thermal SDK takes them out; {ACCEPT}, as grey levels"
    )


THERMAL = _Thermal()
