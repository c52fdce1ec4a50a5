"""Depth frames in metres, with holes marked."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from advcal_edge.look.facts import crop_shares, quantity, ranged, share
from advcal_edge.look.plate import MAGMA, Plate, bar, coloured, shrink
from advcal_edge.look.sight import Fact, Seen, View
from advcal_edge.runtime.sensors.depth import DISPARITY_COUNTS, measure_metres
from advcal_edge.runtime.sensors.distance import has_return
from advcal_edge.runtime.sensors.frame import Array
from advcal_edge.spec import Modality

SHOWN = (1, 95)
"""Percentiles of the palette: one far return must not darken the rest."""


def view(seen: Seen) -> View:
    """The view of a depth frame."""
    frame, modality = cast(Array, seen.frame), seen.modality
    _, height, width = modality.input.shape
    metres, how = in_metres(frame, modality)
    holes = np.isnan(metres)
    returned = metres[~holes]
    rows, columns = metres.shape
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
            f"from the middle of {columns} x {rows} pixels to {width} x {height}, each the pixel nearest to its centre",
        ),
        Fact("holes become", f"x of {nothing}"),
    ]
    note = f"{columns} x {rows} pixels; the palette spans the {SHOWN[0]} to {SHOWN[1]} % of the distances"
    filled = np.where(holes, low, metres)
    picture = coloured(shrink(filled, average=False), low, high, MAGMA, shrink(holes, average=False))
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
                crop_shares(metres.shape, height, width),
            )
        ],
        [x_plate(x, modality) for x in seen.x],
        meaning(seen, median),
    )


def takes_disparity(modality: Modality) -> bool:
    """Do the files hold disparities?"""
    return modality.preprocess == "depth" and modality.number("raw_disparity") != 0


def in_metres(frame: Array, modality: Modality) -> tuple[NDArray[np.float64], str]:
    """Distances (h, w), NaN in holes, and how they came about."""
    each = "count" if frame.dtype.kind == "u" else "unit"
    if takes_disparity(modality):
        pixels = 1 / DISPARITY_COUNTS if frame.dtype.kind == "u" else 1.0
        focal = modality.number("baseline_m") * modality.number("focal_px")
        raw = frame.reshape(frame.shape[:2])
        metres = np.full(raw.shape, np.nan)
        there = has_return(raw, modality)
        metres[there] = focal / (raw[there].astype(np.float64) * pixels)
        return metres, f"m, from disparities of {pixels:g} pixel a {each} and {focal:g} m px"
    scale = modality.number("depth_scale") if modality.text("depth_scale") else 1e-3 if each == "count" else 1.0
    return measure_metres(frame, modality), f"m, {scale:.6g} of each {each}"


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
