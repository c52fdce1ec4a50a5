"""Motion as six lines in physical units, with the direction of gravity."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from advcal_edge.look.chart import Chart, Span, curves
from advcal_edge.look.facts import quantity
from advcal_edge.look.sight import Fact, Figure, Seen, View
from advcal_edge.runtime.sensors import Recording
from advcal_edge.runtime.sensors.resample import clip_starts, resampled_length

ACCEL, GYRO = "m/s\N{SUPERSCRIPT TWO}", "rad/s"
STANDARD = 9.80665


def view(seen: Seen) -> View:
    """The view of a recording of motion."""
    recording, modality = cast(Recording, seen.frame), seen.modality
    values = recording.values.astype(np.float64)
    seconds = values.shape[1] / recording.rate
    rate, samples = modality.number("rate"), modality.input.shape[1]
    starts = [
        start / rate
        for start in clip_starts(resampled_length(values.shape[1], recording.rate, rate), 1, samples, len(seen.x))
    ]
    spans = [Span(start, min(start + samples / rate, seconds), f"clip {k}") for k, start in enumerate(starts, 1)]
    accel, gyro = modality.number("accel_full_scale"), modality.number("gyro_full_scale")
    read = [
        Fact("samples", str(values.shape[1])),
        Fact("rate", quantity(recording.rate, "Hz")),
        Fact("duration", quantity(seconds, "s")),
    ]
    beyond = (np.abs(values) >= np.repeat([accel, gyro], 3)[:, None]).mean()
    measured = [
        Fact("unit", f"{ACCEL} and {GYRO}"),
        *(Fact(f"acceleration {name}", extent(row, ACCEL)) for name, row in zip("xyz", values[:3], strict=True)),
        *(Fact(f"angular rate {name}", extent(row, GYRO)) for name, row in zip("xyz", values[3:], strict=True)),
        Fact("gravity", gravity(values[:3])),
        Fact("beyond full scale", f"{100 * float(beyond):.3g} % of the values"),
    ]
    fitted = [
        Fact("resampled", "not" if rate == recording.rate else f"from {recording.rate:.5g} to {rate:g} Hz"),
        Fact("clips", f"{len(seen.x)} of {samples} samples, {quantity(samples / rate, 's')}"),
        Fact("full scale", f"{quantity(accel, ACCEL)} and {quantity(gyro, GYRO)} are 1"),
        *([Fact("too short", "padded with its last values")] if seconds < samples / rate else []),
    ]
    raw: list[Figure] = [
        six("Acceleration", values[:3], seconds, ACCEL, spans, 0.5),
        six("Angular rate", values[3:], seconds, GYRO, spans, 0.05),
    ]
    clips: list[Figure] = []
    for k, x in enumerate(seen.x.astype(np.float64), 1):
        name = f" of clip {k}" if len(seen.x) > 1 else ""
        clips += [
            six(f"Acceleration{name}", x[:3], samples / rate, "share of full scale", (), 0.01),
            six(f"Angular rate{name}", x[3:], samples / rate, "share of full scale", (), 0.01),
        ]
    meaning = (
        f"{quantity(seen.step * accel, ACCEL, 3)} and {quantity(seen.step * gyro, GYRO, 3)}"
        f" ({quantity(np.degrees(seen.step * gyro), 'degrees/s', 3)}) in each sample"
    )
    return View(read, measured, fitted, raw, clips, meaning)


def six(
    title: str, rows: NDArray[np.float64], seconds: float, unit: str, spans: list[Span] | tuple[()], least: float
) -> Chart:
    """Three axes of one sensor."""
    low, high = float(rows.min()), float(rows.max())
    margin = max(0.06 * (high - low), (least - (high - low)) / 2)
    return curves(
        title,
        list(zip("xyz", rows, strict=True)),
        (0.0, seconds),
        x_name="seconds",
        y_name=unit,
        y_range=(low - margin, high + margin),
        spans=spans,
    )


def extent(row: NDArray[np.float64], unit: str) -> str:
    """Range and mean of an axis."""
    low, high, mean = (float(value) for value in (row.min(), row.max(), row.mean()))
    return f"{quantity(low, '', 4)} to {quantity(high, '', 4)}, mean {quantity(mean, unit, 4)}"


def gravity(accel: NDArray[np.float64]) -> str:
    """The axis that points up, by the mean acceleration: at rest it is the support's push against gravity."""
    mean = accel.mean(axis=1)
    size = float(np.linalg.norm(mean))
    if size < STANDARD / 4:
        return f"none to be seen: the mean acceleration is {quantity(size, ACCEL, 3)}; expected about {STANDARD:.3g}"
    axis = int(np.abs(mean).argmax())
    sign = "+" if mean[axis] > 0 else "\N{MINUS SIGN}"
    tilt = float(np.degrees(np.arccos(min(1.0, abs(mean[axis]) / size))))
    return (
        f"{sign}{'xyz'[axis]} points up, within {tilt:.1f} degrees; the mean acceleration is {quantity(size, ACCEL, 4)}"
    )
