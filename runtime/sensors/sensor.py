"""Interface of sensors, and the module of each; libraries load on first use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import ConfigError
from advcal_edge.runtime.sensors.frame import Frame
from advcal_edge.spec import Modality


class Sensor(Protocol):
    """One sensor: reads its files, checks its frames, and turns them into tensors."""

    frame_axes: int
    """Maximum number of axes of one raw frame, which distinguishes an array of frames from a single one."""

    def read(self, path: str | os.PathLike[str], modality: Modality) -> Frame:
        """Content of a file, unchecked; raises InputError if it cannot be read."""
        ...

    def check(self, frame: object, where: str, modality: Modality) -> Frame:
        """The frame, if the sensor can have produced it; raises InputError otherwise."""
        ...

    def tensors(self, frame: Frame, modality: Modality, clips: int) -> NDArray[np.float32]:
        """(k, *modality.input.shape) within the bounds: `clips` of a recording, evenly spread; one of a still frame."""
        ...


_PACKAGE = "advcal_edge.runtime.sensors"
SENSORS: Mapping[str, str] = {
    "image": "image:IMAGE",
    "video": "video:VIDEO",
    "thermal": "thermal:THERMAL",
    "depth": "depth:DEPTH",
    "range": "depth:RANGE",
    "audio": "audio:AUDIO",
    "imu": "imu:IMU",
    "event": "event:EVENT",
    "point": "point:POINT",
}
"""Module of each sensor, by `Modality.preprocess`."""


def choose_sensor(modality: Modality) -> Sensor:
    """The sensor of a modality.

    Raises:
        ConfigError: it names a preprocessing that does not exist.
    """
    if modality.preprocess not in SENSORS:
        raise ConfigError(
            f"modality `{modality.name}` asks for the preprocessing `{modality.preprocess}`, which does not exist",
            hint=f"there is: {', '.join(SENSORS)}",
        )
    module, _, name = SENSORS[modality.preprocess].partition(":")
    return cast(Sensor, getattr(import_module(f"{_PACKAGE}.{module}"), name))
