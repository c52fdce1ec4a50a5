"""What a module of this package does for its sensor, and which module that is; libraries load with their first use."""

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
    """One sensor: its files, what counts as a frame of it, and the way from there to tensors."""

    frame_axes: int
    """Axes of one raw frame at most, so that an array of frames can be told from a single one."""

    def read(self, path: str | os.PathLike[str], modality: Modality) -> Frame:
        """What a file holds, unchecked; raises InputError where it cannot be read."""
        ...

    def check(self, frame: object, where: str, modality: Modality) -> Frame:
        """The frame, if the sensor can have given it; raises InputError else."""
        ...

    def tensors(self, frame: Frame, modality: Modality, clips: int) -> NDArray[np.float32]:
        """(k, *modality.input.shape) within the bounds: `clips` of a recording spread evenly, one of a still frame."""
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
"""Where the sensor lives that `Modality.preprocess` names."""


def choose_sensor(modality: Modality) -> Sensor:
    """The sensor of a modality.

    Raises:
        ConfigError: it asks for a preprocessing that does not exist.
    """
    if modality.preprocess not in SENSORS:
        raise ConfigError(
            f"modality `{modality.name}` asks for the preprocessing `{modality.preprocess}`, which does not exist",
            hint=f"there is: {', '.join(SENSORS)}",
        )
    module, _, name = SENSORS[modality.preprocess].partition(":")
    return cast(Sensor, getattr(import_module(f"{_PACKAGE}.{module}"), name))
