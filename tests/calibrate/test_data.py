"""The embedded Fashion-MNIST excerpt, and what labelled samples must satisfy."""

from __future__ import annotations

import numpy as np
import pytest

from advcal_edge.calibrate.data.builtin import fashion_mnist
from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.errors import InputError


@pytest.mark.parametrize(("split", "n"), [("train", 3000), ("test", 1000)])
def test_the_excerpt_of_fashion_mnist_is_balanced(split: str, n: int) -> None:
    samples = fashion_mnist("train" if split == "train" else "test")
    assert len(samples) == n
    assert np.bincount(samples.labels).tolist() == [n // 10] * 10
    assert {(frame.dtype.name, frame.shape) for frame in samples.frames} == {("uint8", (28, 28))}
    assert samples.license == "MIT"


def test_training_and_test_images_are_disjoint() -> None:
    train, test = ({frame.tobytes() for frame in fashion_mnist(split).frames} for split in ("train", "test"))
    assert not train & test


@pytest.mark.parametrize("labels", [np.array([0, 2]), np.array([-1, 0]), np.array([0]), np.array([0, 1], np.int32)])
def test_labels_that_fit_no_frame_or_class_are_refused(labels: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
    frame = np.zeros((2, 2), np.uint8)
    with pytest.raises(InputError, match="labels"):
        Samples((frame, frame), labels, ("a", "b"), "test", "CC0-1.0")


def test_take_keeps_frames_and_labels_together() -> None:
    frames = tuple(np.full((2, 2), value, np.uint8) for value in range(8))
    samples = Samples(frames, np.arange(8) % 3, ("a", "b", "c"), "test", "CC0-1.0")
    taken = samples.take(np.array([5, 1]))
    assert taken.labels.tolist() == samples.labels[[5, 1]].tolist()
    assert np.array_equal(taken.frames[0], samples.frames[5])
