"""Events as pictures of counts, and their rate over time."""

from __future__ import annotations

from typing import cast

import numpy as np

from advcal_edge.declarations import Setting
from advcal_edge.look.chart import Chart, curves
from advcal_edge.look.facts import crop_shares, cropped, quantity, share
from advcal_edge.look.plate import INFERNO, Plate, bar, coloured, shrink
from advcal_edge.look.sight import Fact, Figure, Seen, View
from advcal_edge.look.views.image import rgb
from advcal_edge.runtime.sensors.event import FULL_SCALE_PERCENTILE, count_events
from advcal_edge.runtime.sensors.frame import Array

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
LONG = 1000.0
"""Seconds: few recordings of events are longer."""

PARTS = 120  # of the recording, each with its rate


def view(seen: Seen) -> View:
    """The view of a recording of events."""
    events, modality = cast(Array, seen.frame), seen.modality
    declared = [int(modality.number(f"sensor_{side}")) for side in ("height", "width")]
    height, width = declared[0] or int(events["y"].max()) + 1, declared[1] or int(events["x"].max()) + 1
    _, rows, columns = modality.input.shape
    off, on = count_events(events, height, width)
    total = on + off
    unit = modality.settings.get("time_unit", "s")
    times = events["t"].astype(np.float64) * (SECONDS[unit] if isinstance(unit, str) else unit)
    duration = float(times.max() - times.min())
    full = float(np.percentile(np.stack([off, on])[np.stack([off, on]) > 0], FULL_SCALE_PERCENTILE))
    rate = quantity(len(events) / duration, "events/s", 4) if duration > 0 else "not to be told: all at one time"
    read = [
        Fact("events", str(len(events))),
        Fact(
            "sensor",
            f"{width} x {height} pixels, {'declared' if all(declared) else 'the smallest that holds all events'}",
        ),
    ]
    measured = [
        Fact("unit", describe_unit(unit, duration)),
        Fact("duration", quantity(duration, "s")),
        Fact("rate", rate),
        Fact("brighter", share(int(events["p"].sum()), len(events), "events")),
        Fact("time rises", "always" if (np.diff(times) >= 0).all() else "not always"),
        Fact(
            "busiest pixel", f"{int(total.max())} events; {share(int((total > 0).sum()), total.size, 'pixels')} saw any"
        ),
    ]
    fitted = [
        cropped((height, width), rows, columns, "by averaging areas"),
        Fact(
            "full scale",
            f"{full:g} events of one polarity, the {FULL_SCALE_PERCENTILE:g}th percentile where there are any",
        ),
    ]
    top = max(full, float(np.percentile(total[total > 0], FULL_SCALE_PERCENTILE)))
    counts = coloured(shrink(total.astype(np.float32)), 0, top, INFERNO)
    box = crop_shares((height, width), rows, columns)
    raw: list[Figure] = [
        Plate(
            "Events at each pixel",
            f"{width} x {height} pixels, both polarities",
            counts,
            bar(0, top, INFERNO, "events"),
            box,
        ),
        *([rate_chart(times, duration)] if duration > 0 else []),
    ]
    x = [Plate("x", "yellow: brighter, cyan: darker, white: both", rgb(x)) for x in seen.x]
    return View(
        read, measured, fitted, raw, x, f"{quantity(seen.step * full, 'events', 3)} of either polarity at a pixel of x"
    )


def describe_unit(unit: Setting, duration: float) -> str:
    """The unit of the time stamps; most cameras count microseconds, which no file says."""
    if unit != "s" or duration < LONG:
        return f"time stamps in {unit if isinstance(unit, str) else f'{unit:g} s'}"
    return (
        f"time stamps in s, unless declared; as microseconds (`--set input.time_unit=us`) they span"
        f" {quantity(duration / 1e6, 's')}"
    )


def rate_chart(times: Array, duration: float) -> Chart:
    """Events a second in equal parts of the recording."""
    counts, _ = np.histogram(times - times.min(), PARTS, (0.0, duration))
    rates = counts / (duration / PARTS)
    return curves(
        "Rate",
        [("events/s", rates)],
        (0.0, duration),
        x_name="seconds",
        y_name="events/s",
        y_range=(0.0, 1.08 * float(rates.max())),
    )
