"""BasicMotions: 80 recordings of a smart watch on the wrists of four students who stand, run, walk or play badminton.

From the UEA archive of multivariate time series (Bagnall et al. 2018, arXiv:1811.00075), in the copy that aeon ships.
The archive states no license for this problem; aeon, whose wheel it comes from, is under BSD-3-Clause.
`benchmarks/make_basic_motions.py` makes the committed file.

The archive says "3D accelerometer and a 3D gyroscope", ten samples a second for ten seconds, and states no units. The
values tell them: channels 0 to 2 reach 29.4, 3 g in m/s2, and average 0.2 at rest, so gravity is already removed;
channels 3 to 5 reach 34.87, 1998 degrees/s in rad/s, in steps of 0.00266, 0.153 degrees/s.
"""

from __future__ import annotations

import io
from importlib import resources
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.runtime.preprocess import Recording

ACTIVITIES = ("standing", "running", "walking", "badminton")
RATE = 10.0
"""Samples a second."""

WINDOW = 50
"""Samples of a window: five seconds."""

STEP = 5
"""Samples from one window to the next: half a second."""

WINDOWS_PER_RECORDING = 11

Split = Literal["train", "test"]


def basic_motions(split: Split) -> Samples:
    """Windows (6, 50) of the split's 40 recordings, 11 of each in order; acceleration in m/s2, then rotation in rad/s.

    Neighbours share nine tenths of their samples: 440 windows are 40 independent observations, not 440. Window `i` is
    from recording `i // WINDOWS_PER_RECORDING`; intervals and splits must respect that.
    """
    recordings, labels = _load(split)
    starts = range(0, recordings.shape[2] - WINDOW + 1, STEP)
    windows = tuple(Recording(whole[:, start : start + WINDOW], RATE) for whole in recordings for start in starts)
    return _samples(windows, labels.repeat(len(starts)), split)


def whole_motions(split: Split) -> Samples:
    """The split's 40 recordings (6, 100) as they are, ten of each activity; units as in `basic_motions`."""
    recordings, labels = _load(split)
    return _samples(tuple(Recording(whole, RATE) for whole in recordings), labels, split)


def _load(split: Split) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Recordings (40, 6, 100) and labels (40,)."""
    data = resources.files(__package__).joinpath("basic_motions.npz").read_bytes()
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return arrays[f"{split}_recordings"], arrays[f"{split}_labels"].astype(np.int64)


def _samples(frames: tuple[Recording, ...], labels: NDArray[np.int64], split: Split) -> Samples:
    return Samples(frames, labels, ACTIVITIES, f"BasicMotions {split}", "NOASSERTION")
