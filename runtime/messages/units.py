"""Units that ROS fixes, turned into those that a bundle declares, so that the sensor reads messages as it reads files.

REP 118 fixes depth: 16UC1 is millimetres, 32FC1 metres. REP 103 fixes motion: m/s2 and rad/s. Counts whose unit the
bundle declares are its own; a declaration about counts says nothing of metres.
"""

from __future__ import annotations

import numpy as np

from advcal_edge.runtime.sensors.frame import Array, Recording
from advcal_edge.spec import Modality

MILLIMETRE = 1e-3
FULL = 2**16 - 1
"""The largest count: out of range."""


def depth_as_declared(frame: Array, modality: Modality) -> Array:
    """A depth frame of a message in the unit that the modality declares; undeclared counts become metres.

    Values that the modality declares to be holes are those of the message.
    """
    if modality.number("raw_disparity", 0.0) != 0:
        return frame
    declared = modality.text("depth_scale")
    if frame.dtype.kind != "f":
        if declared or frame.dtype != np.uint16:
            return frame
        counts = frame.byteswap() if modality.text("byte_order") == "swapped" else frame
        holes = np.isin(counts, [FULL, *_holes(modality)])
        metres: Array = np.where(holes, 0.0, counts.astype(np.float64) * MILLIMETRE)
        return metres
    scale = modality.number("depth_scale") if declared else 1.0
    return frame if scale == 1 else frame.astype(np.float64) / scale


def motion_as_declared(recording: Recording, modality: Modality) -> Recording:
    """A recording in m/s2 and rad/s in the units that the modality declares."""
    units = np.repeat([modality.number("accel_unit"), modality.number("gyro_unit")], 3)[:, None]
    return recording if (units == 1).all() else Recording(recording.values / units, recording.rate)


def _holes(modality: Modality) -> list[float]:
    """Numbers among the declared holes."""
    found = []
    for word in modality.text("invalid").split(","):
        try:
            found.append(float(word))
        except ValueError:
            continue
    return found
