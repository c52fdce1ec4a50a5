"""Depth in the unit that ROS fixes (REP 118), turned into that which a bundle declares, so that both are read alike.

16UC1 is millimetres, 32FC1 metres. Counts whose unit the bundle declares are its own; a declaration about counts says
nothing of metres.
"""

from __future__ import annotations

import numpy as np

from advcal_edge.runtime.sensors.declared import as_declared
from advcal_edge.runtime.sensors.distance import FULL
from advcal_edge.runtime.sensors.frame import Array
from advcal_edge.runtime.sensors.holes import declared_invalid
from advcal_edge.spec import Modality

MILLIMETRE = 1e-3


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
        counts = as_declared(frame, modality)
        holes = np.isin(counts, [FULL, *declared_invalid(modality).values])
        metres: Array = np.where(holes, 0.0, counts.astype(np.float64) * MILLIMETRE)
        return metres
    scale = modality.number("depth_scale") if declared else 1.0
    return frame if scale == 1 else frame.astype(np.float64) / scale
