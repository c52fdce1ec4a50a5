"""Events from .bin files of N-MNIST and N-Caltech101: 40 bits each, as an ATIS camera gave them.

x, y, then one bit of polarity and 23 bits of microseconds, highest byte first (Orchard et al., "Converting static image
datasets to spiking neuromorphic datasets using saccades", Frontiers in Neuroscience 9, 2015). An event in row 240,
below the sensor, says that `OVERFLOW` microseconds more have passed. The format has no mark to know it by, only its
suffix.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.sensor_file import AGAIN, read_sensor_file
from advcal_edge.runtime.sensors.frame import Array

SUFFIX = ".bin"
EVENT_BYTES = 5
OVERFLOW, OVERFLOW_ROW = 2**13, 240
FIELDS = np.dtype([("t", "<i8"), ("x", "u1"), ("y", "u1"), ("p", "u1")])


def read_atis(path: Path) -> Array:
    """The events (n,) in a file, with the fields t, x, y, p.

    Raises:
        InputError: missing, truncated, or with too many events.
    """
    data = np.frombuffer(read_sensor_file(path), np.uint8)
    if len(data) % EVENT_BYTES:
        raise InputError(
            f"`{path}` has {len(data)} bytes; expected events of {EVENT_BYTES} bytes, as in N-Caltech101", hint=AGAIN
        )
    limits.EVENTS.check(len(data) // EVENT_BYTES, f"`{path}`", InputError)
    x, y, high, middle, low = data.reshape(-1, EVENT_BYTES).T
    events = np.empty(len(x), FIELDS)
    events["x"], events["y"], events["p"] = x, y, high >> 7
    events["t"] = (high & 127).astype(np.int64) << 16 | middle.astype(np.int64) << 8 | low
    overflows = y == OVERFLOW_ROW
    events["t"] += OVERFLOW * np.cumsum(overflows)
    kept: Array = events[~overflows]
    return kept
