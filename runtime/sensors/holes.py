"""What `input.invalid` declares, and the holes of frames: pixels that measured nothing, and rows of telemetry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from advcal_edge.runtime.sensors.files.opencv import cv2
from advcal_edge.runtime.sensors.frame import Array
from advcal_edge.spec import Modality

ROWS = "rows:"


@dataclass(frozen=True, slots=True)
class Invalid:
    """What a declaration means: values that are holes, and rows to cut off at the top and the bottom."""

    values: tuple[float, ...]
    nan: bool
    infinite: bool
    top: int
    bottom: int
    origin: bool
    """Is a point at the origin one?"""
    names_rows: bool


def declared_invalid(modality: Modality) -> Invalid:
    """What a modality declares."""
    return _parse(modality.text("invalid"))


@lru_cache(maxsize=64)
def _parse(text: str) -> Invalid:
    """The meaning of a declaration like `0,65535,nan,rows:-2`; `inf` and `-inf` mean both. `origin` is of points."""
    said = [word for word in text.split(",") if word]
    words = [word for word in said if word != "origin"]
    rows = [int(word.removeprefix(ROWS)) for word in words if word.startswith(ROWS)]
    numbers = [float(word) for word in words if not word.startswith(ROWS)]
    return Invalid(
        tuple(value for value in numbers if np.isfinite(value)),
        any(np.isnan(value) for value in numbers),
        any(np.isinf(value) for value in numbers),
        sum(count for count in rows if count > 0),
        -sum(count for count in rows if count < 0),
        "origin" in said,
        bool(rows),
    )


def cut_rows(frame: Array, invalid: Invalid) -> Array:
    """A frame without its rows of telemetry; empty if there are no others."""
    return frame[invalid.top : max(invalid.top, len(frame) - invalid.bottom)]


def find_holes(plane: Array, invalid: Invalid) -> NDArray[np.bool_]:
    """Pixels that hold one of the declared values."""
    holes = np.zeros(plane.shape, bool)
    for value in invalid.values:
        with np.errstate(over="ignore"):
            stored = np.float64(value).astype(plane.dtype) if plane.dtype.kind == "f" else value
        if np.isfinite(stored):  # half floats hold no 65535
            holes |= plane == stored
    if plane.dtype.kind == "f" and invalid.nan:
        holes |= np.isnan(plane)
    if plane.dtype.kind == "f" and invalid.infinite:
        holes |= np.isinf(plane)
    return holes


def fill_holes(plane: Array, holes: NDArray[np.bool_]) -> Array:
    """A plane (h, w) with the value of the nearest measured pixel in each hole, so that no hole has an edge."""
    if not holes.any() or holes.all():
        return plane
    # the measured pixel nearest to a hole is in the box around all holes, or right beside it
    rows, columns = (np.flatnonzero(holes.any(axis=axis)) for axis in (1, 0))
    box = slice(max(0, rows[0] - 1), rows[-1] + 2), slice(max(0, columns[0] - 1), columns[-1] + 2)
    filled = plane.copy()
    filled[box] = _fill(plane[box], holes[box])
    return filled


def _fill(plane: Array, holes: NDArray[np.bool_]) -> Array:
    _, labels = cv2.distanceTransformWithLabels(
        holes.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.empty(int(labels.max()) + 1, plane.dtype)
    nearest[labels[~holes]] = plane[~holes]
    filled: Array = nearest[labels]
    return filled


def grow(holes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Holes and all pixels beside them."""
    grown: NDArray[np.bool_] = cv2.dilate(holes.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    return grown
