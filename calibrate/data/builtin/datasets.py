"""The two public data sets in the package, reduced to a size that can be committed.

Fashion-MNIST: 3,000 training and 1,000 test images, with equal numbers per class, by Zalando Research (Xiao, Rasul,
Vollgraf 2017, arXiv:1708.07747), MIT license. The excerpt is the first n / 10 images of each class in file order;
`benchmarks/make_fashion_mnist.py` makes it from the original files.

BasicMotions: 80 recordings of a smart watch on the wrists of four students who stand, run, walk or play badminton.
From the UEA archive of multivariate time series (Bagnall et al. 2018, arXiv:1811.00075), in the copy that aeon ships.
The archive states no license for this problem; aeon, whose wheel it comes from, is under BSD-3-Clause.
`benchmarks/make_basic_motions.py` makes the committed file.

The archive says "3D accelerometer and a 3D gyroscope", ten samples per second for ten seconds, and states no units. The
values imply them: channels 0 to 2 reach 29.4, 3 g in m/s2, and average 0.2 at rest, so gravity is already removed;
channels 3 to 5 reach 34.87, 1998 degrees/s in rad/s, in steps of 0.00266, 0.153 degrees/s.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from importlib import resources
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.runtime.sensors import Recording

Split = Literal["train", "test"]

CLOTHES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
ACTIVITIES = ("standing", "running", "walking", "badminton")
MOTION_RATE = 10.0
"""Samples per second."""

WINDOW = 50
"""Samples of a window: five seconds."""

STEP = 5
"""Samples between the starts of two windows: half a second."""

WINDOWS_PER_RECORDING = 11


def fashion_mnist(split: Split) -> Samples:
    """The excerpt's 3,000 training or 1,000 test images, grey uint8 (28, 28).

    The bindlite image trunk was trained on all 60,000 training images and on no test image.
    """
    images, labels = _load("fashion_mnist.npz", f"{split}_images", f"{split}_labels")
    return Samples(tuple(images), labels.astype(np.int64), CLOTHES, f"Fashion-MNIST {split} excerpt", "MIT")


def basic_motions(split: Split) -> Samples:
    """Windows (6, 50) of the split's 40 recordings, 11 of each in order; acceleration in m/s2, then rotation in rad/s.

    Neighbours share nine tenths of their samples: 440 windows are 40 independent observations, not 440. Window `i` is
    from recording `i // WINDOWS_PER_RECORDING`; intervals and splits must account for that.
    """
    recordings, labels = _motions(split)
    starts = range(0, recordings.shape[2] - WINDOW + 1, STEP)
    windows = [whole[:, start : start + WINDOW] for whole in recordings for start in starts]
    return _motion_samples(windows, labels.repeat(len(starts)), split)


def whole_motions(split: Split) -> Samples:
    """The split's 40 recordings (6, 100) as they are, ten of each activity; units as in `basic_motions`."""
    recordings, labels = _motions(split)
    return _motion_samples(recordings, labels, split)


def _load(file: str, *names: str) -> list[NDArray[Any]]:
    """Arrays of a file next to this one."""
    data = resources.files(__package__).joinpath(file).read_bytes()
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return [arrays[name] for name in names]


def _motions(split: Split) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Recordings (40, 6, 100) and labels (40,)."""
    recordings, labels = _load("basic_motions.npz", f"{split}_recordings", f"{split}_labels")
    return recordings, labels.astype(np.int64)


def _motion_samples(values: Iterable[NDArray[np.float32]], labels: NDArray[np.int64], split: Split) -> Samples:
    frames = tuple(Recording(each, MOTION_RATE) for each in values)
    return Samples(frames, labels, ACTIVITIES, f"BasicMotions {split}", "NOASSERTION")
