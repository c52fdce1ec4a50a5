"""Recordings that no sensor gave: exit 2, the file named, the reason in words, nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

from advcal_edge.cli import main

LABELS = {"imu": ("walking", "running")}


def silence(path: Path) -> None:
    soundfile.write(path, np.zeros(16000, np.float32), 16000)


def truncated_sound(path: Path) -> None:
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 16000), 16000)
    path.write_bytes(path.read_bytes()[:200])


def five_channels(path: Path) -> None:
    path.write_text("ax,ay,az,gx,gy\n" + "1,2,3,4,5\n" * 20)


def one_frame(path: Path) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    writer.write(np.full((64, 64, 3), 90, np.uint8))
    writer.release()


def no_points(path: Path) -> None:
    header = (
        "ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    )
    path.write_text(header)


def no_events(path: Path) -> None:
    np.save(path, np.empty((0, 4)))


def eight_bit_depth(path: Path) -> None:
    cv2.imwrite(str(path), np.full((32, 32), 80, np.uint8))


@pytest.mark.parametrize(
    ("modality", "name", "write", "words"),
    [
        ("audio", "silent.wav", silence, "silent"),
        ("audio", "cut.wav", truncated_sound, "cut.wav"),
        ("imu", "five.csv", five_channels, "gz"),
        ("video", "still.avi", one_frame, "frame"),
        ("point", "empty.ply", no_points, "point"),
        ("event", "empty.npy", no_events, "event"),
        ("depth", "grey.png", eight_bit_depth, "uint16"),
    ],
)
def test_a_bad_recording_is_2(
    modality: str,
    name: str,
    write: Callable[[Path], None],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for label in LABELS.get(modality, ("person", "dog")):
        (tmp_path / "data" / label).mkdir(parents=True)
        write(tmp_path / "data" / label / name)
    out = tmp_path / "B"
    assert main(["calibrate", "--modality", modality, "--data", str(tmp_path / "data"), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "internal error" not in error
    assert "2 of 2 files" in error
    assert name in error
    assert words in error
    assert not out.exists()
