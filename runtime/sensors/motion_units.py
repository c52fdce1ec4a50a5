"""Motion in m/s2 and rad/s, axes in one order: what drivers and files hand over in the units that are declared."""

from __future__ import annotations

import numpy as np

from advcal_edge.errors import ConfigError, InputError
from advcal_edge.runtime.sensors.frame import Array, Recording, describe
from advcal_edge.runtime.sensors.motion_time import evened
from advcal_edge.spec import Modality

SI = "m/s2, rad/s"
"""`Recording.unit` of motion whose axes are ax, ay, az, gx, gy, gz, in these units."""

AXES = ("ax", "ay", "az", "gx", "gy", "gz")
TIME, LEFT_OUT = "t", "-"


def declared_columns(modality: Modality) -> tuple[str, ...]:
    """The names of columns that are declared, or none.

    Raises:
        ConfigError: an axis is missing, comes twice, or is none.
    """
    text = modality.text("columns")
    names = tuple(text.split(",")) if text else ()
    kept = [name for name in names if name != LEFT_OUT]
    if (names and sorted(set(kept) - {TIME}) != sorted(AXES)) or len(set(kept)) < len(kept):
        raise ConfigError(
            f"`input.columns` is `{text}`; expected each of {', '.join(AXES)} once, and {TIME} or not",
            hint="`--set input.columns=t,gx,gy,gz,ax,ay,az`, `-` for what is left out",
        )
    return names


def in_si(frame: Recording, where: str, modality: Modality) -> Recording:
    """Motion (c, t) as declared as (6, t) of ax, ay, az, gx, gy, gz in m/s2 and rad/s.

    Raises:
        InputError: another number of rows than columns are declared, or times that are none.
        ConfigError: the declaration is none.
    """
    if frame.unit == SI:
        return frame
    names, values, rate = declared_columns(modality), frame.values, frame.rate
    if names:
        if len(values) != len(names):
            turned = values.shape[1] == len(names)
            raise InputError(
                f"{where} is {describe(frame)}; expected ({len(names)}, t): {','.join(names)}",
                hint="samples come last: `samples.T`"
                if turned
                else "`input.columns` names each row, `-` leaves one out",
            )
        rows = values
        values = rows[[names.index(axis) for axis in AXES]]
        if TIME in names:
            assume = modality.assumes_units
            values, rate = evened(values, rows[names.index(TIME)], modality.number("time_unit"), where, assume=assume)
    sizes = modality.number("accel_unit"), modality.number("gyro_unit")
    return Recording(values if sizes == (1, 1) else scaled(values, *sizes), rate, unit=SI)


def scaled(values: Array, accel: float, gyro: float) -> Array:
    """Axes (6, t) times the size of their units; what is too large becomes infinite."""
    with np.errstate(over="ignore"):
        found: Array = values * np.repeat([accel, gyro], 3)[:, None]
    return found
