"""The embedded motion recordings: what they hold, in which units, and that the activities can be told apart."""

from __future__ import annotations

import math

import numpy as np
import pytest

from advcal_edge.calibrate.data.builtin.datasets import (
    ACTIVITIES,
    MOTION_RATE,
    WINDOWS_PER_RECORDING,
    Split,
    basic_motions,
    whole_motions,
)
from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.runtime.sensors import Recording

STANDARD_GRAVITY = 9.80665


def stack(samples: Samples) -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    return np.stack([frame.values for frame in samples.frames if isinstance(frame, Recording)])


@pytest.mark.parametrize("split", ["train", "test"])
def test_each_split_holds_ten_recordings_of_each_activity(split: Split) -> None:
    samples = whole_motions(split)
    assert stack(samples).shape == (40, 6, 100)
    assert stack(samples).dtype == np.float32
    assert np.bincount(samples.labels).tolist() == [10] * len(ACTIVITIES)
    assert {frame.rate for frame in samples.frames if isinstance(frame, Recording)} == {MOTION_RATE}


@pytest.mark.parametrize("split", ["train", "test"])
def test_windows_are_cut_from_their_recording_in_order(split: Split) -> None:
    whole, windows = whole_motions(split), basic_motions(split)
    assert stack(windows).shape == (40 * WINDOWS_PER_RECORDING, 6, 50)
    for index in (0, 10, 11, 439):
        recording, place = divmod(index, WINDOWS_PER_RECORDING)
        assert windows.labels[index] == whole.labels[recording]
        assert np.array_equal(stack(windows)[index], stack(whole)[recording][:, 5 * place : 5 * place + 50])


def test_no_recording_is_on_both_sides() -> None:
    train, test = ({row.tobytes() for row in stack(whole_motions(split))} for split in ("train", "test"))
    assert len(train) == len(test) == 40
    assert not train & test


def test_values_lie_within_the_full_scales_that_the_units_imply() -> None:
    everything = np.concatenate([stack(whole_motions("train")), stack(whole_motions("test"))])
    assert 0.95 < np.abs(everything[:, :3]).max() / (3 * STANDARD_GRAVITY) < 1.0
    assert 0.95 < np.abs(everything[:, 3:]).max() / math.radians(2000) < 1.0
    at_rest = stack(whole_motions("train"))[:10, :3].mean(axis=2)
    assert np.linalg.norm(at_rest, axis=1).max() < 1.0  # a tenth of gravity: it has been removed


def test_activities_differ_in_how_strongly_the_wrist_moves() -> None:
    def strength(split: Split) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        return np.log(stack(whole_motions(split)).std(axis=2))

    labels = whole_motions("train").labels
    centroids = np.stack([strength("train")[labels == label].mean(axis=0) for label in range(len(ACTIVITIES))])
    away = np.linalg.norm(strength("test")[:, None] - centroids, axis=2)
    assert (away.argmin(axis=1) == whole_motions("test").labels).mean() > 0.8
