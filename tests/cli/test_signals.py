"""Whoever asks a command to end, it ends alike: nothing is lost, nothing is left, and the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny import Linear, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.cli.interruption import interruption
from advcal_edge.spec import image

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "ended by SIGTERM", signal.SIGHUP: "ended by SIGHUP"}
ONE_OF_THEM = [
    signal.SIGTERM,
    pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    pytest.param(signal.SIGINT, marks=pytest.mark.slow),
]
HERE = Path(__file__).parent
VERIFY = ["--engine", "fp16", "--samples", "600", "--reference", "onnx", "--sources", "none"]


@pytest.fixture(autouse=True)
def hangup() -> Iterator[None]:
    """SIGHUP as a terminal has it, also where `nohup` runs the tests."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def start(arguments: list[str], scratch: Path) -> subprocess.Popen[str]:
    """A real process of the command line whose temporary folders are in `scratch`."""
    scratch.mkdir(exist_ok=True)
    paths = [str(HERE.parent / "calibrate"), *sys.path]
    environment = {**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", "advcal_edge", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def run(arguments: list[str], scratch: Path) -> int:
    """The exit code of a command that nobody disturbs."""
    process = start(arguments, scratch)
    _, err = process.communicate()
    assert process.returncode in (0, 1), err
    return process.returncode


def stop(arguments: list[str], scratch: Path, number: signal.Signals, when: tuple[Path, str]) -> str:
    """Send a signal once something appears on the disk; what the process said before it ended."""
    process = start(arguments, scratch)
    while process.poll() is None and not list(when[0].glob(when[1])):
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == CODES[number], err
    assert err.splitlines()[-1] == WORDS[number]
    assert not list(scratch.glob("advcal-edge*"))
    return err


def calibration(folder: Path, out: str) -> list[str]:
    settings = ["train.samples=48", "train.batch=16", "train.epochs=40", "evaluate.steps=3", "evaluate.queries=5"]
    return [
        *(
            "calibrate",
            "--modality",
            "thermal",
            "--encoder",
            "small_encoder:Small.load",
            "--data",
            str(folder / "data"),
        ),
        *("--out", str(folder / out), "--samples", "30", *(part for text in settings for part in ("--set", text))),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("number", ONE_OF_THEM)
def test_calibrate_keeps_its_last_epoch_and_resumes_to_the_same_bundle(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(HERE.parent / "calibrate"))
    from small_encoder import write_folder

    write_folder(tmp_path / "data", 120)
    run(calibration(tmp_path, "whole"), tmp_path / "scratch")
    arguments = calibration(tmp_path, "B")
    err = stop(arguments, tmp_path / "scratch", number, (tmp_path, "B.partial/state.safetensors"))
    assert "the same command with `--resume` goes on" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["B.partial", "data", "scratch", "whole"]
    run([*arguments, "--resume"], tmp_path / "scratch")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["B", "data", "scratch", "whole"]
    files = [Bundle.open(tmp_path / name).manifest["files"] for name in ("B", "whole")]
    assert files[0] == files[1]


@pytest.mark.parametrize("number", ONE_OF_THEM)
def test_verify_keeps_its_blocks_and_goes_on_to_the_same_report(number: signal.Signals, tmp_path: Path) -> None:
    linear = Linear.random(image(8))
    for name in ("B", "whole"):
        write_bundle(tmp_path / name, linear, ("fp32", "fp16"), {}, samples=600, gradient=True)
    run(["verify", str(tmp_path / "whole"), *VERIFY], tmp_path / "scratch")
    arguments = ["verify", str(tmp_path / "B"), *VERIFY]
    stop(arguments, tmp_path / "scratch", number, (tmp_path, "B.verify/*/block-000000.npz"))
    assert not list(tmp_path.glob("B/reports"))
    assert not list(tmp_path.glob(".B*"))
    assert not [path for name in ("B", "B.verify") for path in (tmp_path / name).rglob(".*")]
    run(arguments, tmp_path / "scratch")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["B", "scratch", "whole"]
    assert report(tmp_path / "B") == report(tmp_path / "whole")


def report(bundle: Path) -> dict[str, Any]:
    (path,) = bundle.glob("reports/*/report.json")
    found: dict[str, Any] = json.loads(path.read_text())
    del found["measured"]["seconds"]
    return found


@pytest.mark.parametrize("number", CODES)
def test_a_signal_that_comes_twice_does_not_cut_off_the_cleaning(number: signal.Signals) -> None:
    cleaned, before = False, signal.getsignal(number)
    with interruption() as asked:
        try:
            os.kill(os.getpid(), number)
            time.sleep(1)
        except KeyboardInterrupt:
            os.kill(os.getpid(), number)
            time.sleep(0.05)
            cleaned = True
        assert (cleaned, asked.code, str(asked)) == (True, CODES[number], WORDS[number])
    assert signal.getsignal(number) == before


def test_what_is_ignored_stays_ignored() -> None:
    """`nohup` ignores SIGHUP for the command it starts."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruption() as asked:
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.05)
        assert asked.signal is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
