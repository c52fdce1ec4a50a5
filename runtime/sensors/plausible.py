"""What values of sixteen bits say about how they were stored: byte order, bits in use, rows that are no picture.

Each test compares a frame with itself, so that it needs no knowledge of the scene; a frame of fewer than `FEWEST`
pixels is not judged, nor is more than `MOST` of a large one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.runtime.sensors.frame import Array

FEWEST, MOST = 256, 2**14

NOISE = 0.3
"""Difference of neighbours, as a share of that of any two pixels, from which on a frame may be no scene."""

CLEARER = 2.5
"""How many times smoother the other byte order must be; noise is as rough in both."""

PURE, TEXTURE = 0.85, 0.65
"""A frame of fine texture: noise in one order, and neighbours that still tell of each other in the other."""

NARROW = (8, 12)
"""Bits of cameras whose values are often stored in 16."""

ALIKE = 0.8
"""The same share, below which a frame shows a scene."""

PILED = 0.0005
"""Share of pixels at the largest value of a narrower range from which on they are saturated ones."""

TELEMETRY_ROWS = 4
"""The most rows at an edge that are looked at: Lepton sends 1 to 3 there, Boson 2."""


def swap_bytes(values: Array) -> Array:
    """Integers with their bytes in the opposite order, of the machine's own type."""
    return values.astype(values.dtype.newbyteorder("="), copy=False).byteswap()


def seems_swapped(plane: Array, measured: NDArray[np.bool_] | None = None) -> bool:
    """Do neighbours of a plane (h, w) of 16 bits differ like noise, and are alike after a swap of the bytes?"""
    if plane.dtype.itemsize != 2 or plane.dtype.kind not in "iu":
        return False
    plane, measured = excerpt(plane, measured)
    empty = (plane == 0) | (plane == plane.dtype.type(-1 if plane.dtype.kind == "i" else 2**16 - 1))
    measured = ~empty if measured is None else measured & ~empty
    measured = None if measured.all() else measured
    rough = roughness(plane, measured)
    if rough <= NOISE:  # a scene: the other order need not be looked at
        return False
    other = roughness(swap_bytes(plane), measured)
    return other * CLEARER < rough or (rough > PURE and other < TEXTURE)


def roughness(plane: Array, measured: NDArray[np.bool_] | None = None) -> float:
    """Mean difference of neighbours along rows over that of any two pixels: 1 for noise, 0 for a frame of few pixels.

    The brightest and darkest 2 % count as less: dead pixels are no texture. Any two differ by Gini's
    mean difference, 2 / (n (n - 1)) sum((2 i - n - 1) x_i) over sorted values.
    """
    chosen = plane if measured is None or not measured.any() else plane[measured]
    low, high = percentiles(chosen, (2, 98))
    values = plane.astype(np.float64).clip(low, high)
    apart = np.abs(np.diff(values, axis=1))
    if measured is not None:
        apart, values = apart[measured[:, 1:] & measured[:, :-1]], values[measured]
    if apart.size < FEWEST // 2 or values.size < FEWEST:
        return 0.0
    ordered = np.sort(values.ravel()[:: max(1, values.size // 4096)])
    n = len(ordered)
    any_two = 2 / (n * (n - 1)) * float((2 * np.arange(1, n + 1) - n - 1) @ ordered)
    return float(apart.mean()) / any_two if any_two > 0 else 0.0


def percentiles(values: Array, percents: tuple[float, ...]) -> list[float]:
    """Those of NumPy, bit for bit; of 16 bits, which sort fast, in a third of its time."""
    ordered = np.sort(values, axis=None)
    found = []
    for percent in percents:
        place = percent / 100 * (ordered.size - 1)
        below = int(place)
        left, right = float(ordered[below]), float(ordered[min(below + 1, ordered.size - 1)])
        share = place - below
        found.append(left + (right - left) * share if share < 0.5 else right - (right - left) * (1 - share))
    return found


def narrow_range(frame: Array) -> int:
    """Bits that a frame (h, w, c) of 16 bits fills as a camera of fewer bits would; 0 if it may use all of them.

    Two signs of a narrower range count: pixels pile up at exactly its largest value, as saturated ones do; or nothing
    is above it, the brightest hundredth reaches its upper half, and neighbours are alike, so that it is no black frame.
    Values that are multiples of 16 or of 257 were moved up to fill 16 bits: that frame is dark.
    """
    top = int(frame.max())
    bits = top.bit_length()
    if bits > 15 or frame.shape[0] * frame.shape[1] < FEWEST:
        return 0
    plane = excerpt(frame)[0].max(axis=2)
    # a saturated camera, of any width
    if bits >= 8 and top == 2**bits - 1 and np.count_nonzero(plane == top) >= max(4, PILED * plane.size):
        return bits
    width = next((bits_ for bits_ in NARROW if bits <= bits_), 0)
    if not width or not (plane & 15).any() or not (plane % 257).any():
        return 0
    bright = float(np.percentile(plane, 99))
    return width if bright >= 2 ** (width - 1) and roughness(plane) < ALIKE else 0


def telemetry_rows(plane: Array, floor: float) -> int:
    """Rows of a plane (h, w) that are telemetry: 2 at the top, -2 at the bottom, 0 if there are none.

    They differ like noise from the frame: more than an eighth of their neighbours by more than four times what all but
    a two-hundredth of the frame's neighbours differ by, and by more than `floor`.
    """
    edge = TELEMETRY_ROWS
    if plane.shape[0] < 4 * edge or plane.shape[1] < 16:
        return 0
    inner = plane[edge:-edge]
    inside = _apart(inner[:: max(1, len(inner) // 32)])
    usual = max(floor, 4 * percentiles(inside, (99.5,))[0])
    if _is_noisy(inside, usual).any():
        return 0
    top, bottom = _is_noisy(_apart(plane[:edge]), usual), _is_noisy(_apart(plane[: -edge - 1 : -1]), usual)
    if bottom.any() and not top.any():
        return -(int(np.flatnonzero(bottom)[-1]) + 1)
    return int(np.flatnonzero(top)[-1]) + 1 if top.any() and not bottom.any() else 0


def _apart(rows: Array) -> NDArray[Any]:
    if rows.dtype.kind not in "iu" or rows.dtype.itemsize > 2:
        return np.abs(np.diff(rows.astype(np.float64), axis=1))
    return np.abs(np.diff(rows.astype(np.int32), axis=1)).astype(np.uint16)  # which sorts fast


def _is_noisy(apart: NDArray[Any], usual: float) -> NDArray[np.bool_]:
    return np.asarray((apart > usual).mean(axis=1) > 1 / 8)


def excerpt(plane: Array, measured: NDArray[np.bool_] | None = None) -> tuple[Array, NDArray[np.bool_] | None]:
    """Every k-th row of a large frame, whole, so that neighbours along rows stay neighbours."""
    step = max(1, plane.shape[0] * plane.shape[1] // MOST)
    return plane[::step], None if measured is None else measured[::step]
