"""Depth frames in metres, with holes marked."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from advcal_edge.look.facts import crop_shares, quantity, ranged, share
from advcal_edge.look.plate import MAGMA, Plate, bar, coloured, shrink
from advcal_edge.look.sight import Fact, Seen, View
from advcal_edge.runtime.sensors.frame import Array
from advcal_edge.spec import Modality

SHOWN = (1, 95)
"""Percentiles of the palette: one far return must not darken the rest."""


def view(seen: Seen) -> View:
    """The view of a depth frame."""
    frame, modality = cast(Array, seen.frame), seen.modality
    _, height, width = modality.input.shape
    raw = frame.reshape(frame.shape[:2])
    holes = ~np.isfinite(raw) | (raw == 0)
    metres, how = in_metres(np.where(holes, 1, raw), raw.dtype, modality)
    returned = metres[~holes]
    low, high = (float(value) for value in np.percentile(returned, SHOWN))
    median = float(np.median(returned))
    measured = [
        Fact("unit", how),
        *ranged(returned, "m"),
        Fact("holes", share(int(holes.sum()), holes.size, "pixels")),
    ]
    nothing = "0, infinitely far" if modality.preprocess == "depth" else "the nearest distance"
    fitted = [
        Fact(
            "crop and resize",
            f"from the middle of {frame.shape[1]} x {frame.shape[0]} pixels to {width} x {height}, each the pixel"
            " nearest to its centre",
        ),
        Fact("holes become", f"x of {nothing}"),
    ]
    note = (
        f"{frame.shape[1]} x {frame.shape[0]} pixels; the palette spans the {SHOWN[0]} to {SHOWN[1]} % of the distances"
    )
    picture = coloured(shrink(metres, average=False), low, high, MAGMA, shrink(holes, average=False))
    return View(
        [Fact("kind", "disparities" if takes_disparity(modality) else "distances")],
        measured,
        fitted,
        [
            Plate(
                "Distance; holes are a checkerboard",
                note,
                picture,
                bar(low, high, MAGMA, "in m"),
                crop_shares(frame.shape, height, width),
            )
        ],
        [x_plate(x, modality) for x in seen.x],
        meaning(seen, median),
    )


def takes_disparity(modality: Modality) -> bool:
    """Do the files hold disparities?"""
    return modality.preprocess == "depth" and modality.number("raw_disparity") != 0


def in_metres(raw: Array, dtype: np.dtype[np.generic], modality: Modality) -> tuple[NDArray[np.float64], str]:
    """Distances, and how they came about."""
    values = raw.astype(np.float64)
    if takes_disparity(modality):
        pixels = 256.0 if dtype.kind == "u" else 1.0
        focal = modality.number("baseline_m") * modality.number("focal_px")
        return focal * pixels / values, f"m, from disparities in 1/{pixels:g} pixel and {focal:g} m px"
    declared = modality.text("depth_scale") != ""
    scale = modality.number("depth_scale") if declared else 1e-3 if dtype.kind == "u" else 1.0
    each = "count" if dtype.kind == "u" else "unit"
    return values * scale, f"m, {scale:.6g} of each {each}"


def meaning(seen: Seen, median: float) -> str:
    """What a step is at the median distance."""
    modality = seen.modality
    if modality.preprocess != "depth":
        return f"{quantity(100 * seen.step * modality.number('far_m'), 'cm', 3)} at any distance"
    pixels = seen.step * modality.number("max_disparity_px")
    focal = modality.number("baseline_m") * modality.number("focal_px")
    near = median - focal / (focal / median + pixels)
    return (
        f"{quantity(pixels, 'pixels of disparity', 3)}: {quantity(100 * near, 'cm', 3)} nearer at the median distance,"
        f" {quantity(median, 'm', 3)}"
    )


def x_plate(x: Array, modality: Modality) -> Plate:
    """x in the same palette over its bounds."""
    if modality.preprocess == "depth":
        focal = modality.number("baseline_m") * modality.number("focal_px") / modality.number("max_disparity_px")
        note = (
            f"share of the largest disparity: 1 is {quantity(focal, 'm', 3)} or nearer, 0 is infinitely far or a hole"
        )
        second = None
    else:
        far = modality.number("far_m")
        note, second = f"share of {far:g} m", (0.0, far, "m")
    return Plate("x", note, coloured(x[0], 0, 1, MAGMA), bar(0, 1, MAGMA, "x", second))
