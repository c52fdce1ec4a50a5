"""Distances in the counts or floats of a depth frame, and whether they are any at the scale that is declared.

The limits are far from what cameras see: the middle pixel of a frame is between 2 cm and 100 m away. Counts have no
scale unless one is declared; that of floats is the metre.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from advcal_edge.declarations import DECLARATIONS
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.declared import ACCEPT, declare, other_order
from advcal_edge.runtime.sensors.frame import Array
from advcal_edge.runtime.sensors.holes import declared_invalid, find_holes
from advcal_edge.runtime.sensors.plausible import excerpt, seems_swapped
from advcal_edge.spec import Modality

FARTHEST_M = 1000.0
"""The maximum range of a robot's depth sensor: larger numbers are millimetres, or not distances."""

MIDDLE_M = (0.02, 100.0)
"""Metres of a frame's median: nearer than any camera sees, and farther than any scene is on the whole."""

WIDEST_PX = 16384.0
"""A disparity cannot be wider than the frame."""

FULL = 2**16 - 1
"""The largest count: out of range."""

ROTATED = 3
"""Bits by which SUN RGB-D rotates its counts to the left."""


def has_return(plane: Array, modality: Modality) -> NDArray[np.bool_]:
    """Pixels of a plane (h, w) in which light returned."""
    returned = np.isfinite(plane) & (plane != 0) & ~find_holes(plane, declared_invalid(modality))
    return np.asarray(returned & (plane != FULL) if plane.dtype.kind == "u" else returned)


def to_metres(plane: Array, modality: Modality) -> NDArray[np.float64]:
    """Counts or floats in metres, by the declared scale; undeclared counts are millimetres, where that is accepted."""
    scale = modality.text("depth_scale")
    if plane.dtype.kind == "u" and scale == "sunrgbd":
        plane = (plane >> ROTATED) | (plane << (16 - ROTATED))
    undeclared = 1e-3 if plane.dtype.kind == "u" else 1.0
    metres: NDArray[np.float64] = plane.astype(np.float64) * (modality.number("depth_scale") if scale else undeclared)
    return metres


def check_distances(
    plane: Array, returned: NDArray[np.bool_], where: str, modality: Modality, *, disparity: bool
) -> None:
    """Raises InputError for a plane (h, w) of distances or disparities that contradicts its declared unit."""
    counts = plane.dtype.kind == "u"
    if not counts:
        _check_extremes(plane[returned], where, modality, disparity=disparity)
    if modality.assumes_units:
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
