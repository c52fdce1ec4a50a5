"""Preprocess raw sensor frames to physical tensors; the only place that does so, for calibration and deployment."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.frame import Frame, Recording, describe
from advcal_edge.runtime.sensors.sensor import Sensor, choose_sensor
from advcal_edge.spec import Modality

__all__ = ["Frame", "Recording", "Sensor", "preprocess", "preprocess_clips", "read_frame"]


def preprocess(modality: Modality, frames: Sequence[Frame] | Frame, *, first: int = 0) -> NDArray[np.float32]:
    """Raw frames of any sizes to one physical batch (n, *modality.input.shape) inside its bounds, not normalised.

    A recording gives its middle clip; `preprocess_clips` gives all clips. `first` is the number of the first frame.

    Raises:
        InputError: a frame that the sensor cannot have produced; the message names its index.
        ConfigError: the modality names a preprocessing that does not exist.
        DependencyError: the library that reads this sensor is not installed.
    """
    sensor = choose_sensor(modality)
    if isinstance(frames, Recording) or (isinstance(frames, np.ndarray) and frames.ndim <= sensor.frame_axes):
        raise InputError(
            f"frames are one frame, {describe(frames)}; expected a sequence of frames",
            hint="pass one frame as `[frame]`",
        )
    batch = np.empty((len(frames), *modality.input.shape), np.float32)
    for index, frame in enumerate(frames):
        batch[index] = sensor.tensors(sensor.check(frame, f"frame {first + index}", modality), modality, 1)[0]
    return batch


def preprocess_clips(modality: Modality, frame: Frame, where: str = "frame") -> NDArray[np.float32]:
    """Every clip (k, *modality.input.shape) of one raw frame, `where` in messages; one of sensors of still frames.

    Raises:
        InputError: a frame that the sensor cannot have produced.
        ConfigError: the modality names a preprocessing that does not exist.
        DependencyError: the library that reads this sensor is not installed.
    """
    sensor = choose_sensor(modality)
    clips = max(1, round(modality.number("clips", 1)))
    return sensor.tensors(sensor.check(frame, where, modality), modality, clips)


def read_frame(path: str | os.PathLike[str], modality: Modality) -> Frame:
    """Read the raw frame in a file of any format of this sensor, ready for `preprocess`.

    Raises:
        InputError: the file is unreadable, or does not hold a frame of this modality; the message names it.
        ConfigError: the modality names a preprocessing that does not exist.
        DependencyError: the library that reads this format is not installed.
    """
    sensor = choose_sensor(modality)
    return sensor.check(sensor.read(path, modality), f"`{os.fspath(path)}`", modality)
