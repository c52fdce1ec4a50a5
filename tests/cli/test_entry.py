"""Exit codes and streams: stdout is the result, stderr is talk, and a crash never reads as a failed gate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from advcal_edge.cli import main
from advcal_edge.cli.app import COMMANDS as LISTED, load
from advcal_edge.cli.console import Console

COMMANDS = ("demo", "calibrate", "export", "verify", "attest", "look", "embed", "bench", "inspect", "doctor")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {command} " in out for command in COMMANDS)


def test_the_list_says_what_each_command_says_of_itself() -> None:
    for name, summary in LISTED.items():
        told = str(load(name).help).split("\n\n")[0]
        assert " ".join(told.split()) == summary


LIGHT = """
import sys
from advcal_edge.cli import main
assert main(["--help"]) == 0
print(sorted({"numpy", "cv2", "torch", "onnxruntime", "importlib.metadata", "tomllib"} & sys.modules.keys()))
"""


def test_help_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")


def test_a_command_that_is_nearly_there_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exprt"]) == 2
    assert "Did you mean 'export'" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["exprt"], ["export"], ["verify", "B", "--no-such-option"], ["calibrate", "--modality"], ["demo", "--seed", "x"]],
)
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err


@pytest.mark.parametrize("command", ["export", "verify", "bench", "inspect"])
def test_no_bundle_is_2_with_a_hint(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, str(tmp_path / "none")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error: `" in captured.err
    assert "hint: make one: `advcal-edge calibrate" in captured.err


def test_an_unforeseen_exception_is_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("advcal_edge.bundle.Bundle.open", crash)
    assert main(["inspect", "B"]) == 2
    assert "internal error: RuntimeError: boom" in capsys.readouterr().err


def test_control_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("advcal_edge.bundle.Bundle.open", interrupt)
    assert main(["inspect", "B"]) == 130


def test_the_module_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "advcal_edge", "inspect", "/nonexistent"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == ""


def test_progress_is_a_line_each_tenth_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    for done in range(1, 101):
        console.progress("attack", done, 100)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[-1].startswith("attack  100/100  100 %")
