"""`--set input.NAME=VALUE` and `--assume-units` of commands that change nothing but how a sensor is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from advcal_edge.config import parse_settings, resolve
from advcal_edge.declarations import Setting


@dataclass(frozen=True, slots=True)
class SensorSettings:
    """The one section that such a command knows."""

    input: Mapping[str, Setting] = field(default_factory=dict)


def read_sensor_settings(settings: Sequence[str], *, assume_units: bool) -> dict[str, Setting]:
    """Settings of a sensor by name, as `calibrate` reads them.

    Raises:
        ConfigError: an item that is no setting of a sensor.
    """
    found = dict(resolve(SensorSettings, [parse_settings(settings)]).input)
    return {**found, "assume_units": "yes"} if assume_units else found
