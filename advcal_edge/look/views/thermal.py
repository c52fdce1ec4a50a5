"""Thermal frames in degrees, with the window of the gain control."""

from __future__ import annotations

from typing import cast

import numpy as np

from advcal_edge.look.facts import crop_shares, cropped, quantity, ranged, share
from advcal_edge.look.plate import INFERNO, Bar, Plate, bar, coloured, shrink
from advcal_edge.look.sight import Fact, Seen, View
from advcal_edge.runtime.sensors.frame import Array
from advcal_edge.runtime.sensors.thermal import MINIMUM_SPAN, PERCENTILES

ZERO_CELSIUS = 273.15


def view(seen: Seen) -> View:
    """The view of a thermal frame."""
    frame, modality = cast(Array, seen.frame), seen.modality
    _, height, width = modality.input.shape
    plane = frame.reshape(*frame.shape[:2], -1)[:, :, 0]
    scale, offset = modality.number("kelvin_per_count", 0.01), modality.number("kelvin_offset", 0.0)
    counts = plane.dtype.kind == "u"
    radiometric = counts and plane.dtype.itemsize > 1 and scale > 0
    if radiometric:
        values, unit = plane * np.float64(scale) + offset - ZERO_CELSIUS, "\N{DEGREE SIGN}C"
    else:
        values, unit = plane.astype(np.float64), "counts" if counts else "degrees"
    holes = ~np.isfinite(values)
    shown = values[~holes]
    low, high = (float(value) for value in np.percentile(shown, PERCENTILES))
    span = max(high - low, MINIMUM_SPAN) if unit != "counts" else 255.0
    start = (low + high - span) / 2 if unit != "counts" else 0.0
    measured = [
        Fact("unit", unit if not radiometric else f"{unit}: {scale:g} K per count, {offset:g} K at count 0"),
        *ranged(shown, unit),
        *(ranged(plane, "counts", "range of counts")[:1] if radiometric else []),
        Fact("holes", share(int(holes.sum()), holes.size, "pixels")),
    ]
    fitted = [cropped(frame.shape, height, width, "by averaging areas")]
    if unit == "counts":
        fitted.append(Fact("window", "none: after the camera's gain control, 0 to 255 counts"))
        meaning = f"{quantity(seen.step * 255, 'grey levels of 255', 3)}, after the camera's own gain control"
    else:
        window = f"{quantity(start, unit)} to {quantity(start + span, unit)}"
        fitted.append(Fact("window", f"{window}, {quantity(span, 'K')} wide, at least {MINIMUM_SPAN:g} K"))
        meaning = f"{quantity(1000 * seen.step * span, 'mK', 3)} in this frame, {100 * seen.step:.3g} % of its window"
    picture = coloured(shrink(values), low, high, INFERNO, None if not holes.any() else shrink(holes, average=False))
    return View(
        [Fact("kind", kind_of(plane, radiometric=radiometric))],
        measured,
        fitted,
        [
            Plate(
                "Temperature" if unit != "counts" else "Grey levels",
                f"{frame.shape[1]} x {frame.shape[0]} pixels; the palette spans the {PERCENTILES[0]:g} to"
                f" {PERCENTILES[1]:g} % of the values",
                picture,
                scale_bar(low, high, unit, scale if radiometric else 0.0, offset),
                crop_shares(frame.shape, height, width),
            )
        ],
        [x_plate(x, unit, start, span) for x in seen.x],
        meaning,
    )


def kind_of(plane: Array, *, radiometric: bool) -> str:
    """What the numbers are."""
    if radiometric:
        return "radiometric counts"
    return "degrees" if plane.dtype.kind == "f" else "grey levels after gain control, or counts of unknown unit"


def scale_bar(low: float, high: float, unit: str, scale: float, offset: float) -> Bar:
    """A bar in degrees and in counts, or in kelvin."""
    if scale:
        counts = [(value + ZERO_CELSIUS - offset) / scale for value in (low, high)]
        return bar(low, high, INFERNO, f"in {unit}", (counts[0], counts[1], "counts"))
    return bar(low, high, INFERNO, f"in {unit}")


def x_plate(x: Array, unit: str, start: float, span: float) -> Plate:
    """x in the same palette over its whole bounds."""
    second = None if unit == "counts" else (start, start + span, unit)
    return Plate("x", "0 to 1 is the window", coloured(x[0], 0, 1, INFERNO), bar(0, 1, INFERNO, "x", second))
