"""A camera of OpenCV, of which the real one here is a film: colours, ends, misses, and nothing secret in messages."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny import BundleMaker, Linear

from advcal_edge.errors import InputError
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.sources import MOST_MISSES, Camera
from advcal_edge.spec import image

FRAMES = 12


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Red frames that become darker."""
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (32, 24))
    for index in range(FRAMES):
        frame = np.zeros((24, 32, 3), np.uint8)
        frame[:, :, 2] = 250 - 10 * index  # OpenCV writes blue, green, red
        writer.write(frame)
    writer.release()
    return path


def test_a_film_gives_its_frames_in_rgb(film: Path) -> None:
    frames = list(Camera(film))
    assert len(frames) == FRAMES
    for index, frame in enumerate(frames):
        assert isinstance(frame, np.ndarray)
        assert (frame.dtype, frame.shape) == (np.uint8, (24, 32, 3))
        np.testing.assert_allclose(frame.mean(axis=(0, 1)), (250 - 10 * index, 0, 0), atol=6)


def test_a_stream_of_a_film(film: Path, make_bundle: BundleMaker) -> None:
    embedder = Embedder.load(make_bundle(Linear.random(image(8))).path, threads=1)
    with embedder.stream(Camera(film)) as results:
        found = list(results)
    assert [result.number for result in found] == list(range(FRAMES))
    z = embedder.embed_frames(list(Camera(film)))  # type: ignore[arg-type]  # none is an error
    np.testing.assert_allclose(np.stack([result.z for result in found if result.z is not None]), z, atol=1e-6)


def test_a_camera_is_released_when_the_reader_leaves(film: Path, make_bundle: BundleMaker) -> None:
    embedder = Embedder.load(make_bundle(Linear.random(image(8))).path, threads=1)
    with embedder.stream(Camera(film), latest=False, ahead=1) as results:
        next(results)
    assert results.stopped
    assert results.statistics.frames < FRAMES


@pytest.mark.parametrize("source", [63, "/nonexistent/camera"])
def test_a_camera_that_is_not_there(source: int | str) -> None:
    with pytest.raises(InputError, match="cannot be opened") as refusal:
        next(iter(Camera(source)))
    assert "/dev/video" in str(refusal.value.hint)


def test_a_password_is_in_no_message() -> None:
    camera = Camera("rtsp://robot:secret@127.0.0.1:1/stream")
    assert str(camera) == "rtsp://127.0.0.1:1/stream"
    with pytest.raises(InputError) as refusal:
        next(iter(camera))
    assert "secret" not in refusal.value.message + str(refusal.value.hint)


class Unplugged:
    """A capture of OpenCV as a driver leaves it: some frames, then none."""

    def __init__(self, frames: int) -> None:
        self.frames, self.released = frames, False

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.frames -= 1
        return (True, np.zeros((4, 4, 3), np.uint8)) if self.frames >= 0 else (False, None)

    def release(self) -> None:
        self.released = True


def test_missed_frames_are_items_until_the_camera_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advcal_edge.runtime.sources.MISS_SECONDS", 0.0)
    capture = Unplugged(2)
    monkeypatch.setattr(Camera, "_open", lambda self: capture)
    items = iter(Camera(0))
    assert all(isinstance(next(items), np.ndarray) for _ in range(2))
    assert all("gave no frame" in str(next(items)) for _ in range(MOST_MISSES))
    with pytest.raises(InputError, match=f"in {MOST_MISSES + 1} reads"):
        next(items)
    assert capture.released
