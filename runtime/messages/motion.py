"""sensor_msgs/Imu to recordings of motion, by the stamps of their headers.

ROS fixes the units (REP 103): m/s2 and rad/s. A covariance that begins with -1 says that the driver does not measure a
quantity; its zeros are not taken for rest.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from advcal_edge.errors import InputError
from advcal_edge.runtime.messages.fields import NANOSECONDS, WHOLE, Message, read_field
from advcal_edge.runtime.messages.windows import Window
from advcal_edge.runtime.sensors.frame import Recording
from advcal_edge.runtime.sensors.motion_units import SI

Sample: TypeAlias = tuple[float, ...]

MEASURED = ("linear_acceleration", "angular_velocity")


def read_motion_sample(message: Message) -> Sample:
    """Acceleration x, y, z in m/s2 and angular rate x, y, z in rad/s.

    Raises:
        InputError: a driver that measures only one of them, or numbers that are none.
    """
    values: list[float] = []
    for name in MEASURED:
        covariance = getattr(message, f"{name}_covariance", None)
        if covariance is not None and len(covariance) and float(covariance[0]) == -1:
            raise InputError(
                f"the message says by its covariance that `{name}` is not measured; expected all six axes",
                hint="record the topic that holds both; some drivers unite accelerometer and gyroscope only if told to",
            )
        vector = read_field(message, name)
        try:
            values += [float(read_field(vector, axis)) for axis in "xyz"]
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"the message has `{name}` that is no vector: {error}", hint=WHOLE) from error
    return tuple(values)


def make_recording(window: Window[Sample]) -> Recording:
    """Samples at their stamps as a recording (6, t) of even steps, interpolated linearly.

    Raises:
        InputError: fewer than two samples, or a gap among them.
    """
    window.check_gaps()
    times = (window.stamps - window.stamps[0]) / NANOSECONDS
    grid = np.linspace(0, times[-1], len(times))
    axes = np.array(window.items, np.float64).T
    values = np.stack([np.interp(grid, times, axis) for axis in axes])
    return Recording(values, (len(times) - 1) / float(times[-1]), unit=SI)
