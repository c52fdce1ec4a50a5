"""Time stamps of motion: checked to be those of a sensor, and samples interpolated at even times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from advcal_edge.declarations import DECLARATIONS
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.frame import Array

RATES = (1.0, 32_000.0)
"""Hertz: the fastest inertial sensors give 32 kHz; higher rates come from timestamps in units other than seconds."""

SLOWEST_SENSOR = 2.0
"""Hertz: stamps at a lower rate are taken for milliseconds of a sensor of 1 kHz, unless units are assumed."""

LONGEST_GAP = 10.0
"""In median steps: interpolation over a longer gap would be motion that was not measured."""

SHORTEST = 1e-200
"""Limit of a step, so that its rate is a number."""

LATEST = 1e20
"""Limit of any clock; larger values no longer increase."""


def evened(values: Array, times: Array, unit: float, where: str, *, assume: bool) -> tuple[NDArray[np.float64], float]:
    """Samples (c, t) at uneven times, interpolated linearly at even ones, and their mean rate in hertz.

    `unit` is the length of one unit of the times in seconds; `assume` takes rates that contradict it.

    Raises:
        InputError: times that do not rise, with the row; gaps; or a rate that no sensor has.
    """
    steps = np.diff(np.clip(times.astype(np.float64), -LATEST, LATEST))
    if len(steps) == 0 or not np.isfinite(steps).all() or steps.min() <= 0:
        raise InputError(
            f"{where} has timestamps that do not rise{_first_fault(times, steps)};"
            " expected finite ones, each above the last",
            hint="sort the rows by time and drop those that come twice, or leave the column out and say"
            " `--set input.file_rate=200`",
        )
    usual, longest = max(float(np.median(steps)), SHORTEST), float(steps.max())
    _check_rate(1 / (usual * unit), usual, unit, where, assume=assume)
    if longest > LONGEST_GAP * usual:
        row = int(steps.argmax())
        raise InputError(
            f"{where} has a gap of {longest * unit:g} s at {times[row] * unit:.10g} s, after row {row + 1};"
            f" expected at most {LONGEST_GAP:g} times the usual {usual * unit:g} s",
            hint="cut the recording there",
        )
    since = times - times[0]
    grid = np.linspace(0, since[-1], len(times))
    rate = len(steps) / (float(since[-1]) * unit)
    return np.stack([np.interp(grid, since, axis) for axis in values]), rate


def _first_fault(times: Array, steps: NDArray[np.float64]) -> str:
    """The first row whose time is not above the last, in words."""
    bad = np.flatnonzero(~(steps > 0))
    if not len(bad):
        return ""
    row = int(bad[0])
    fault = "comes twice" if steps[row] == 0 else f"follows {times[row]:.10g}"
    return f": in row {row + 2} the time {times[row + 1]:.10g} {fault}"


def _check_rate(rate: float, step: float, unit: float, where: str, *, assume: bool) -> None:
    slowest = RATES[0] if assume else SLOWEST_SENSOR
    if slowest <= rate <= RATES[1]:
        return
    units = {
        name: 1 / (step * seconds)
        for name, seconds in DECLARATIONS["time_unit"].names.items()
        if seconds != unit and SLOWEST_SENSOR <= 1 / (step * seconds) <= RATES[1]
    }
    said = next((name for name, seconds in DECLARATIONS["time_unit"].names.items() if seconds == unit), f"{unit:g} s")
    hint = " or ".join(f"`--set input.time_unit={name}` makes it {rate:.4g} Hz" for name, rate in units.items())
    raise InputError(
        f"{where} has timestamps {step:g} apart, which in {said} is a rate of {rate:.4g} Hz;"
        f" expected a rate of {slowest:g} to {RATES[1]:g} Hz",
        hint=hint or "timestamps are in `input.time_unit`, by default seconds; say `--set input.file_rate=200` without",
    )
