"""Thermal frames in degrees, with the window of the gain control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from advcal_edge.look.facts import crop_shares, cropped, quantity, ranged, share
from advcal_edge.look.plate import INFERNO, Bar, Plate, bar, coloured, shrink
from advcal_edge.look.sight import Fact, Seen, View
from advcal_edge.runtime.sensors.frame import Array
from advcal_edge.runtime.sensors.holes import cut_rows, declared_invalid, find_holes
from advcal_edge.runtime.sensors.thermal import (
    KELVIN_PER_COUNT,
    MINIMUM_SPAN,
    PERCENTILES,
    is_grey_level,
    measure_degrees,
)
from advcal_edge.spec import Modality

ZERO_CELSIUS = 273.15
CELSIUS, GREY, COUNTS, DEGREES = "\N{DEGREE SIGN}C", "grey levels", "counts", "degrees"


@dataclass(frozen=True, slots=True)
class Measured:
    """A frame (h, w) in its unit, its holes, and what one unit and 0 are in counts; without counts a unit is 0."""

    values: NDArray[np.float64]
    holes: NDArray[np.bool_]
    unit: str
    kelvin_per_count: float = 0.0
    kelvin_offset: float = 0.0

    def counts(self, value: float) -> float:
        """A temperature in degrees Celsius as counts."""
        return (value + ZERO_CELSIUS - self.kelvin_offset) / self.kelvin_per_count


def view(seen: Seen) -> View:
    """The view of a thermal frame."""
    frame, modality = cast(Array, seen.frame), seen.modality
    _, height, width = modality.input.shape
    found = measure(frame, modality)
    shown = found.values[~found.holes]
    low, high = (float(value) for value in np.percentile(shown, PERCENTILES))
    start, span = (0.0, 255.0) if found.unit == GREY else window(low, high, found)
    filled = ", filled with the nearest value" if found.holes.any() else ""
    measured = [
        Fact("unit", describe(found)),
        *ranged(shown, found.unit),
        Fact("holes", share(int(found.holes.sum()), found.holes.size, "pixels") + filled),
    ]
    if found.kelvin_per_count:
        reach = [f"{round(found.counts(float(value)))}" for value in (shown.min(), shown.max())]
        measured.insert(2, Fact("range of counts", " to ".join(reach)))
    fitted = [cropped(found.values.shape, height, width, "by averaging areas")]
    if found.unit == GREY:
        fitted.append(Fact("window", "none: after the camera's gain control, 0 to 255"))
        meaning = f"{quantity(seen.step * 255, 'grey levels of 255', 3)}, after the camera's own gain control"
    else:
        kelvin = "K" if found.unit != COUNTS else COUNTS
        fitted.append(
            Fact("window", f"{quantity(start)} to {quantity(start + span, found.unit)}, {quantity(span, kelvin)} wide")
        )
        step = quantity(1000 * seen.step * span, "mK", 3) if kelvin == "K" else quantity(seen.step * span, kelvin, 3)
        meaning = f"{step} in this frame, {100 * seen.step:.3g} % of its window"
    picture = coloured(
        shrink(np.where(found.holes, low, found.values)), low, high, INFERNO, shrink(found.holes, average=False)
    )
    rows, columns = found.values.shape
    return View(
        [],
        measured,
        fitted,
        [
            Plate(
                "Grey levels" if found.unit == GREY else "Temperature",
                f"{columns} x {rows} pixels; the palette spans the {PERCENTILES[0]:g} to {PERCENTILES[1]:g} % of the"
                " values" + ("; holes are a checkerboard" if found.holes.any() else ""),
                picture,
                scale_bar(low, high, found),
                crop_shares(found.values.shape, height, width),
            )
        ],
        [x_plate(x, found, start, span) for x in seen.x],
        meaning,
    )


def measure(frame: Array, modality: Modality) -> Measured:
    """A checked frame in degrees Celsius, or in the unit it has."""
    if is_grey_level(frame, modality):
        invalid = declared_invalid(modality)
        levels = cut_rows(frame.reshape(*frame.shape[:2], -1)[:, :, 0], invalid)
        return Measured(levels.astype(np.float64), find_holes(levels, invalid), GREY)
    degrees, holes = measure_degrees(frame, modality)
    values = degrees.astype(np.float64)
    if frame.dtype.kind == "f":
        return Measured(values, holes, DEGREES)
    scale, offset = modality.number("kelvin_per_count"), modality.number("kelvin_offset")
    if not scale:
        return Measured(values / KELVIN_PER_COUNT, holes, COUNTS)
    return Measured(values - ZERO_CELSIUS, holes, CELSIUS, scale, offset)


def describe(found: Measured) -> str:
    """The unit and how it came about."""
    if found.kelvin_per_count:
        return f"{found.unit}, of counts: {found.kelvin_per_count:g} K each, {found.kelvin_offset:g} K at count 0"
    known = {
        GREY: "after the camera's gain control",
        COUNTS: "of no known unit",
        DEGREES: "Celsius or kelvin, as stored",
    }
    return f"{found.unit} {known[found.unit]}"


def window(low: float, high: float, found: Measured) -> tuple[float, float]:
    """Start and width of the window of the gain control."""
    least = MINIMUM_SPAN if found.unit != COUNTS else MINIMUM_SPAN / KELVIN_PER_COUNT
    span = max(high - low, least)
    return (low + high - span) / 2, span


def scale_bar(low: float, high: float, found: Measured) -> Bar:
    """A bar in degrees and, below, in counts."""
    if not found.kelvin_per_count:
        return bar(low, high, INFERNO, f"in {found.unit}")
    return bar(low, high, INFERNO, f"in {found.unit}", (found.counts(low), found.counts(high), COUNTS))


def x_plate(x: Array, found: Measured, start: float, span: float) -> Plate:
    """x in the same palette over its whole bounds."""
    second = (start, start + span, found.unit)
    return Plate("x", "0 to 1 is the window", coloured(x[0], 0, 1, INFERNO), bar(0, 1, INFERNO, "x", second))
