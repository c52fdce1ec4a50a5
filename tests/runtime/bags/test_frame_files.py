"""Files of frames hold every value: read by independent readers, and by the sensor that calibrates on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from advcal_edge.runtime.bags.frame_file import write_frame
from advcal_edge.runtime.sensors import Frame, Recording
from advcal_edge.runtime.sensors.event import EVENT_DTYPE
from advcal_edge.runtime.sensors.sensor import choose_sensor
from advcal_edge.spec import Modality, audio, depth, event, image, imu, point, thermal, video

RNG = np.random.default_rng(0)


def written(folder: Path, frame: Frame, modality: Modality) -> Path:
    suffix, data = write_frame(frame, modality)
    path = folder / f"frame{suffix}"
    path.write_bytes(data)
    return path


def read(path: Path, modality: Modality) -> Frame:
    return choose_sensor(modality).read(path, modality)


COUNTS = RNG.integers(0, 65536, (9, 12), dtype=np.uint16)
COLOUR = RNG.integers(0, 256, (9, 12, 3), dtype=np.uint8)
EVENTS = np.zeros(5, EVENT_DTYPE)
EVENTS["t"], EVENTS["x"], EVENTS["p"] = np.arange(5) / 3, [4, 5, 6, 7, 900], [1, 0, 1, 1, 0]


@pytest.mark.parametrize(
    ("frame", "modality", "suffix"),
    [
        (COUNTS, thermal(8), ".png"),
        (COUNTS, depth(8), ".png"),
        (COLOUR, image(8), ".png"),
        (COLOUR[:, :, 0], image(8), ".png"),
        (COLOUR.astype(np.uint16) * 257, image(8), ".png"),
        (np.dstack([COLOUR, COLOUR[:, :, 0]]), image(8), ".png"),
        (RNG.normal(size=(9, 12)).astype(np.float32), thermal(8), ".npy"),
        (RNG.normal(size=(9, 12)), depth(8), ".npy"),
        (RNG.normal(size=(40, 3)).astype(np.float32), point(16), ".ply"),
        (RNG.normal(size=(40, 3)), point(16), ".ply"),
    ],
)
def test_arrays(frame: NDArray[np.generic], modality: Modality, suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path, frame, modality)
    assert path.suffix == suffix
    found = np.asarray(read(path, modality))
    np.testing.assert_array_equal(found, frame)
    if suffix == ".png":
        assert found.dtype == frame.dtype
    if (suffix == ".png" and frame.dtype == np.uint8) or frame is COUNTS:
        np.testing.assert_array_equal(np.asarray(Image.open(path)), frame)


def test_events(tmp_path: Path) -> None:
    path = written(tmp_path, EVENTS, event(8))
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), EVENTS)
    found = choose_sensor(event(8)).check(read(path, event(8)), "it", event(8))
    np.testing.assert_array_equal(np.asarray(found), EVENTS)


def test_film(tmp_path: Path) -> None:
    film = RNG.integers(0, 256, (4, 9, 12, 3), dtype=np.uint8)
    path = written(tmp_path, Recording(film, 30.0), video(8, 2))
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), film)


def test_motion(tmp_path: Path) -> None:
    values = RNG.normal(size=(6, 50)) + np.array([0, 0, 9.8, 0, 0, 0])[:, None]
    path = written(tmp_path, Recording(values, 200.0), imu(50, 100.0))
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    np.testing.assert_array_equal(table[:, 1:].T, values)
    np.testing.assert_allclose(table[:, 0], np.arange(50) / 200)
    found = read(path, imu(50, 100.0))
    assert isinstance(found, Recording)
    np.testing.assert_allclose(found.values, values)
    assert found.rate == pytest.approx(200)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_sound(dtype: type, channels: int, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="no soundfile to read sound with")
    values = (RNG.uniform(-1, 1, (channels, 999)) * (30000 if dtype is np.int16 else 1)).astype(dtype)
    path = written(tmp_path, Recording(values[0] if channels == 1 else values, 16000.0), audio(64, 96))
    found, rate = soundfile.read(path, dtype=np.dtype(dtype).name, always_2d=True)
    assert rate == 16000
    np.testing.assert_array_equal(found.T, values)
