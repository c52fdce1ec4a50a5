"""`advcal-edge embed --camera` and `embed B -`: a line of JSON a frame, at once, and a clean end at any signal."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from network_camera import network_camera
from tiny import DIM, BundleMaker, Linear

from advcal_edge.cli import main
from advcal_edge.spec import image

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def bundle(make_bundle: BundleMaker) -> str:
    return str(make_bundle(Linear.random(image(8))).path)


def picture(seed: int) -> bytes:
    file = io.BytesIO()
    np.save(file, np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    return file.getvalue()


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "advcal_edge", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)


def test_a_film_as_a_camera(bundle: str, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (16, 16))
    for level in range(9):
        writer.write(np.full((16, 16, 3), 20 * level + 20, np.uint8))
    writer.release()
    assert main(["embed", bundle, "--camera", str(path), "--vectors", "--top", "2"]) == 0
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["frame"] for line in lines] == list(range(9))
    assert all(len(line["z"]) == DIM and len(line["matches"]) == 2 for line in lines)
    assert "9 frames: 9 embedded, 0 with an error, 0 replaced by a newer one, 0 too late" in err
    assert main(["embed", bundle, "--camera", str(path), "--newest"]) == 0
    out, err = capsys.readouterr()
    assert "the newest frame" in err
    assert json.loads(out.splitlines()[-1])["frame"] == 8


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_lines_come_at_once_and_a_signal_ends_it(bundle: str, number: signal.Signals, code: int) -> None:
    process = start(["embed", bundle, "-"])
    assert process.stdin is not None
    assert process.stdout is not None
    for index in range(3):
        process.stdin.write(picture(index))
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["frame"] == index
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, b"")
    assert b"3 frames: 3 embedded" in err
    assert b"Traceback" not in err


def test_an_input_that_ends(bundle: str) -> None:
    """A frame that is refused is a line with its error, and makes the exit code 1."""
    bad = io.BytesIO()
    np.save(bad, np.zeros((8, 8), np.float32))
    process = start(["embed", bundle, "-", "--deadline", "60"])
    out, err = process.communicate(picture(0) + bad.getvalue() + picture(1), timeout=60)
    lines = [json.loads(line) for line in out.splitlines()]
    assert ["error" in line for line in lines] == [False, True, False]
    assert "frame 1 is float32" in lines[1]["error"]
    assert lines[1]["hint"]
    assert process.returncode == 1
    assert b"2 embedded, 1 with an error" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to embed"),
        (["a.png", "--camera", "0"], "one source"),
        (["-", "a.png"], "one source"),
        (["rtsp://host/stream"], "--camera URL"),
        (["a.png", "--deadline", "1"], "`--deadline` is of a stream"),
        (["a.png", "--every-frame"], "is of a stream"),
        (["-", "--raw"], "is of a camera"),
        (["-", "--out", "z.npz"], "`--out` was given with a stream"),
        (["-", "--topic", "/camera"], "`--topic` was given with a stream"),
        (["--camera", "0", "--rate", "16000"], "is of recordings"),
        (["--camera", "63"], "camera `63` cannot be opened"),
        (["-", "--deadline", "0"], "positive number of seconds"),
    ],
)
def test_what_does_not_go_together(bundle: str, arguments: list[str], message: str, capsys: Capture) -> None:
    assert main(["embed", bundle, *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "\nhint: " in err or "Traceback" not in err


@pytest.mark.parametrize("times", [1, 2])
def test_a_camera_on_the_network_until_ctrl_c(bundle: str, times: int) -> None:
    """Users press twice; a thread that is left inside OpenCV then would abort the process."""
    with network_camera() as url:
        process = start(["embed", bundle, "--camera", url, "--every-frame", "--top", "1"])
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(5)]
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.01)
        _, err = process.communicate(timeout=60)
    assert [line["frame"] for line in lines] == list(range(5))
    assert all("error" not in line for line in lines)
    assert process.returncode == 130, err
    assert err.decode().rstrip().endswith("interrupted")
