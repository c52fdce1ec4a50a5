"""A command that works shows a line at least every ten seconds, whatever it waits for, and what was found so far."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

import pytest
from tiny import Linear, write_bundle

from advcal_edge.cli import console as console_file, main
from advcal_edge.cli.console import Console
from advcal_edge.cli.heartbeat import heartbeat
from advcal_edge.runtime.model import Runner
from advcal_edge.spec import image


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second instead of ten."""
    monkeypatch.setattr(console_file, "SILENCE", 0.5)
    monkeypatch.setattr("advcal_edge.cli.heartbeat.EVERY", 0.05)


def test_ten_seconds_are_the_limit() -> None:
    from advcal_edge.cli.heartbeat import EVERY

    assert console_file.SILENCE + EVERY <= 10


@pytest.mark.usefixtures("impatient")
def test_silence_ends_before_and_inside_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    with heartbeat(console):
        time.sleep(0.8)  # as loading models may take
        console.progress("attack", 1, 9)
        console.note("fp16: 64 samples")
        time.sleep(1.3)
        console.progress("attack", 2, 9)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "at work  1 s"
    inside = [line for line in lines if line.startswith("attack  1/9")]
    assert len(inside) == 3  # the first, and two signs of life
    assert all(line.endswith("fp16: 64 samples") for line in inside[1:])
    time.sleep(0.7)
    assert capsys.readouterr().err == ""  # it ended


@pytest.mark.usefixtures("impatient")
def test_a_busy_console_needs_no_sign_of_life(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    with heartbeat(console):
        for done in range(1, 8):
            console.say(f"step {done}")
            time.sleep(0.15)
    assert capsys.readouterr().err.splitlines() == [f"step {done}" for done in range(1, 8)]


def test_an_error_inside_is_not_swallowed_and_ends_it() -> None:
    console = Console()
    with pytest.raises(ValueError, match="broken"), heartbeat(console):
        raise ValueError("broken")


@pytest.mark.usefixtures("impatient")
def test_verify_is_never_silent_for_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the checks of a slow engine, and not inside one of its calls either."""
    bundle = write_bundle(tmp_path / "B", Linear.random(image(4)), ("fp32",), {}, samples=80, gradient=True)
    real, slow = Runner.__call__, iter([True])

    def wait(self: Runner, x: object) -> object:
        if next(slow, False):
            time.sleep(1.6)
        return real(self, x)  # type: ignore[arg-type]

    monkeypatch.setattr(Runner, "__call__", wait)
    assert main(["verify", str(bundle.path), "--engine", "fp32", "--reference", "onnx", "--samples", "80"]) in (0, 1)
    told = capsys.readouterr().err
    assert len(re.findall(r"^at work  \d+ s$", told, re.MULTILINE)) >= 2
    assert "check  0/1  0 %" in told
    assert re.search(r"attack  \d+/\d+  \d+ %  \d+ s  fp32: 64 samples, 0 lost, 0 gained, drop 0.0 \[", told)
    assert "inconclusive so far" in told
    shutil.rmtree(bundle.path)
