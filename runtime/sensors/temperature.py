"""Are the values of a thermal frame temperatures in the unit that is declared?

The limits are far from what cameras see: the middle pixel of a frame is between -70 and 427 degrees Celsius, and nine
tenths of its pixels are between -123 and 1227. Counts of another scale are outside, since scales differ by factors:
290 K at 0.1 K per count reads as 29 K at 0.01 K, at 0.04 K as 73 K, at 1/64 K as 186 K.
"""

from __future__ import annotations

import numpy as np

from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.declared import ACCEPT, declare, other_order
from advcal_edge.runtime.sensors.frame import Array
from advcal_edge.runtime.sensors.holes import declared_invalid, find_holes
from advcal_edge.runtime.sensors.plausible import excerpt, percentiles, seems_swapped, swap_bytes, telemetry_rows
from advcal_edge.spec import Modality

CELSIUS = 273.15
MIDDLE = (203.15, 700.0)
"""Kelvin of the median."""

MOST = (150.0, 1500.0)
"""Kelvin of the 5th and the 95th percentile."""

IMPOSSIBLE = 150.0
"""Kelvin. No scene is as cold: a hole."""

USUAL = (240.0, 400.0)
"""Kelvin of scenes that a hint may promise."""

DEGREES = (-CELSIUS, 10_000.0)
"""Kelvin or degrees Celsius of a float frame: values outside are not temperatures in either unit."""

SCALES: tuple[tuple[str, float], ...] = (
    ("lepton", 0.01), ("0.1", 0.1), ("flir-tlinear-high", 0.04), ("flir-tlinear-low", 0.4), ("0.015625", 1 / 64),
)  # fmt: skip
"""Kelvin per count in use, with what declares them."""

LARGEST_STEP = 500.0
"""Counts of no known unit, or 5 K: what neighbours in a row of telemetry differ by at least."""


def check_temperatures(plane: Array, where: str, modality: Modality) -> None:
    """Raises InputError for a plane (h, w) of counts or degrees that contradicts its declared unit."""
    measured = ~find_holes(plane, declared_invalid(modality))
    if not measured.any():
        raise InputError(
            f"{where} has no temperature in any pixel: all are {modality.text('invalid')}",
            hint="closed shutter? or other values are holes: `input.invalid` names them",
        )
    if plane.dtype.kind == "f":
        _check_degrees(plane[measured], where, modality)
    elif not modality.assumes_units:
        _check_storage(plane, where, modality)
        if modality.number("kelvin_per_count"):
            _check_counts(plane, measured, where, modality)


def _check_degrees(degrees: Array, where: str, modality: Modality) -> None:
    low, high = float(degrees.min()), float(degrees.max())  # NaN propagates through both
    if not (DEGREES[0] <= low and high <= DEGREES[1]):
        broken = not (np.isfinite(low) and np.isfinite(high))
        holes = declare("invalid", "nan,inf") + " makes holes of them"
        raise InputError(
            f"{where} spans [{low:g}, {high:g}] degrees; expected finite values within"
            f" [{DEGREES[0]:g}, {DEGREES[1]:g}]",
            hint=holes if broken else "counts are integers: give them as they come from the camera, uint16 or int16",
        )
    if modality.assumes_units:
        return
    if low >= 0 and high <= 1:
        raise InputError(
            f"{where} is {degrees.dtype} within [{low:g}, {high:g}]; expected degrees, which span more than one",
            hint="give the temperatures or counts that these were made from; of grey levels in [0, 1]"
            f" `numpy.rint(255 * frame).astype('uint8')`; {ACCEPT}",
        )
    middle = float(np.median(degrees[:: max(1, degrees.size // 2**16)]))
    if not MIDDLE[0] - CELSIUS <= middle <= MIDDLE[1]:
        ways = [f"`frame * {scale:g}`" for _, scale in SCALES if USUAL[0] <= middle * scale <= USUAL[1]]
        raise InputError(
            f"{where} is {degrees.dtype} with a median of {middle:g}; expected degrees Celsius or kelvin",
            hint=f"{' or '.join(ways) or 'the counts times their scale'} if these are counts; {ACCEPT}",
        )


def _check_storage(plane: Array, where: str, modality: Modality) -> None:
    if seems_swapped(plane):
        raise InputError(
            f"{where} has neighbours that differ like noise; expected alike ones, as once the bytes of each"
            " count are swapped",
            hint=f"{declare('byte_order', other_order(modality))} reads it so; {ACCEPT}",
        )
    scale = modality.number("kelvin_per_count")
    rows = telemetry_rows(plane, LARGEST_STEP * 0.01 / scale if scale else LARGEST_STEP)
    if rows:
        edge = "last" if rows < 0 else "first"
        count = "row differs" if abs(rows) == 1 else f"{abs(rows)} rows differ"
        raise InputError(
            f"{where} has {len(plane)} rows, of which the {edge} {count} like noise from the rest;"
            " expected no telemetry",
            hint=f"{declare('invalid', f'rows:{rows}')} cuts it off; {ACCEPT}",
        )


def _check_counts(plane: Array, measured: Array, where: str, modality: Modality) -> None:
    part, inside = excerpt(plane, measured)
    scale, offset = modality.number("kelvin_per_count"), modality.number("kelvin_offset")
    counts = part[inside] if inside is not None else part.ravel()
    counts = counts if offset else counts[counts != 0]  # count 0 is 0 K: a hole
    if counts.size == 0:
        raise InputError(
            f"{where} has no temperature in any pixel: all counts are 0, which is 0 K",
            hint=f"closed shutter? {declare('kelvin_offset', CELSIUS)} if counts are of degrees Celsius; {ACCEPT}",
        )
    low, middle, high = (count * scale + offset for count in percentiles(counts, (5, 50, 95)))
    if MIDDLE[0] <= middle <= MIDDLE[1] and low >= MOST[0] and high <= MOST[1]:
        return
    declared = f"{scale:g} K a count" + (f" from {offset:g} K" if offset else "")
    raise InputError(
        f"{where} is {plane.dtype} from {counts.min()} to {counts.max()}, at {declared} a scene of {low:.4g} to"
        f" {high:.4g} K with a median of {middle:.4g} K; expected one between {MIDDLE[0]:.0f} and {MIDDLE[1]:.0f} K",
        hint=_ways(counts, modality),
    )


def _ways(counts: Array, modality: Modality) -> str:
    """The declarations that would make a usual scene of these counts."""
    current = modality.number("kelvin_per_count"), modality.number("kelvin_offset")
    middle, ways, more = float(np.median(counts)), list[str](), list[str]()
    for name, scale in SCALES:
        for offset in (0.0, CELSIUS):
            kelvin = middle * scale + offset
            if (scale, offset) == current or not USUAL[0] <= kelvin <= USUAL[1]:
                continue
            parts = [declare("kelvin_per_count", name)] if scale != current[0] else []
            parts += [declare("kelvin_offset", f"{offset:g}")] if offset != current[1] else []
            (ways if len(parts) == 1 else more).append(f"{' with '.join(parts)} makes it {kelvin:.0f} K")
    ways = ways or more
    swapped = float(np.median(swap_bytes(counts))) * current[0] + current[1]
    if USUAL[0] <= swapped <= USUAL[1]:
        ways.insert(0, f"{declare('byte_order', other_order(modality))} makes it {swapped:.0f} K")
    if int(counts.min()) >= 0 and int(counts.max()) <= 255:
        ways.insert(0, f"{declare('significant_bits', 8)} takes it for grey levels of 8 bits")
    return "; ".join([*ways[:4], f"{declare('kelvin_per_count', 'raw')} if counts have no known unit"])
