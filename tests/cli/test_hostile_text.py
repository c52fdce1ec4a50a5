"""Strings of a foreign bundle, and names of files, in the output of every command: shown, and never obeyed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from hostile import SECTIONS, resealed
from tiny import BundleMaker, Linear, make_centers

from advcal_edge.bundle import MANIFEST, Bundle
from advcal_edge.cli import main
from advcal_edge.cli.console import Console
from advcal_edge.cli.streams import PlainStream
from advcal_edge.errors import AdvcalError, InputError
from advcal_edge.spec import image

Capture = pytest.CaptureFixture[str]
REPORT = json.loads((Path(__file__).parents[2] / "docs" / "example-report" / "report.json").read_text(encoding="utf-8"))

FORGED = "forged line"
HOSTILE = f"\x1b]0;a\x07\x9b31m\u202eb\u2066\u200b\u2028\x7f\x00\r\n{FORGED}"
SURROGATE = f"{HOSTILE}\ud800"
NAME = HOSTILE.replace("\0", "")  # what a file system takes


def calm(capsys: Capture) -> str:
    """Everything a command wrote, none of which a terminal would obey; no line is one that a string brought along."""
    out, err = capsys.readouterr()
    for text in (out, err):
        assert {character for character in text if not character.isprintable()} <= {"\n"}
        assert not any(line.startswith(FORGED) for line in text.splitlines())
    return out + err


def replaced(value: Any, path: tuple[Any, ...], found: object) -> Any:
    """A JSON document with another value at one place."""
    if not path:
        return found
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], found)
    return copy


def texts(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Places of the strings in a JSON document; of the entries of a list those of the first."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value[:1]):
            yield from texts(inner, (*path, key))


def keyed(value: object) -> Any:
    """The document with something hostile at the end of every key."""
    if isinstance(value, dict):
        return {f"{key}{HOSTILE}": keyed(inner) for key, inner in value.items()}
    return [keyed(inner) for inner in value] if isinstance(value, list) else value


@pytest.fixture
def bundle(make_bundle: BundleMaker) -> Bundle:
    """A working bundle that says something hostile wherever it may; a manifest may not."""
    linear = Linear.random(image(8))
    whole = make_bundle(linear).add({"onnx/vjp.fp32.onnx": linear.vjp()})
    (whole.path / NAME).write_text("a file that nobody listed")
    centers = make_centers()
    labels = tuple(f"{label}{HOSTILE}" for label in centers.labels)
    graph = onnx.load_from_string(linear.forward())
    onnx.helper.set_model_props(graph, {"advcal_edge.precision": HOSTILE, "advcal_edge.step": HOSTILE})
    graph.producer_name = graph.graph.name = graph.graph.doc_string = HOSTILE
    return whole.add(
        {
            "centers.safetensors": replace(centers, labels=labels, source=HOSTILE).to_bytes(),
            "onnx/forward.fp32.onnx": graph.SerializeToString(),
        },
        **{name: section for name, section in SECTIONS.items() if name not in ("centers", "encoder")},
        encoder={**SECTIONS["encoder"], "modality": "image"},
    )


@pytest.fixture
def frame(tmp_path: Path) -> Path:
    """A picture whose name is hostile."""
    path = tmp_path / f"{NAME}.png"
    found, data = cv2.imencode(".png", np.full((8, 8, 3), 99, np.uint8))
    assert found
    path.write_bytes(data.tobytes())
    return path


@pytest.mark.parametrize("json_output", [False, True], ids=["tables", "json"])
@pytest.mark.parametrize(
    "command",
    [
        lambda path, frame: ["inspect", path],
        lambda path, frame: ["embed", path, str(frame)],
        lambda path, frame: ["bench", path, "--seconds", "0", "--batch", "1"],
        lambda path, frame: ["verify", path, "--reference", "onnx", "--samples", "8"],
    ],
    ids=["inspect", "embed", "bench", "verify"],
)
def test_a_working_bundle_shows_its_strings(
    command: Callable[[str, Path], list[str]], json_output: bool, bundle: Bundle, frame: Path, capsys: Capture
) -> None:
    assert main([*command(str(bundle.path), frame), *(["--json"] if json_output else [])]) in (0, 1)
    told = calm(capsys)
    assert any(word in told for word in (FORGED, "p50", "worst case"))


def test_a_bundle_and_an_output_of_a_hostile_name(bundle: Bundle, frame: Path, tmp_path: Path, capsys: Capture) -> None:
    moved = str(bundle.path.rename(tmp_path / NAME))
    assert main(["inspect", moved]) == 0
    assert main(["embed", moved, str(frame), "--out", str(tmp_path / f"{NAME}.npz")]) == 0
    assert main(["export", moved, "--precision", "fp32"]) == 2  # its weights are others
    assert FORGED in calm(capsys)


@pytest.mark.parametrize("word", [HOSTILE, SURROGATE])
def test_any_string_of_a_manifest_and_of_its_keys(word: str, bundle: Bundle, frame: Path, capsys: Capture) -> None:
    manifest = json.loads((bundle.path / MANIFEST).read_bytes())
    for path in texts(manifest):
        (bundle.path / MANIFEST).write_text(json.dumps(resealed(replaced(manifest, path, word))))
        for command in (["inspect"], ["embed", str(frame)], ["export"]):
            assert main([command[0], str(bundle.path), *command[1:]]) in (0, 2)
            calm(capsys)
    for damaged in (keyed(manifest), {**manifest, "files": keyed(manifest["files"])}, {"schema": word}, word):
        (bundle.path / MANIFEST).write_text(json.dumps(damaged))
        for name in ("inspect", "bench", "export", "verify"):
            assert main([name, str(bundle.path)]) == 2
            calm(capsys)


@pytest.mark.parametrize("word", [HOSTILE, SURROGATE])
def test_any_string_of_a_report(word: str, bundle: Bundle, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "report.json"
    for place in texts(REPORT):
        path.write_text(json.dumps(replaced(REPORT, place, word)))
        assert main(["verify", str(bundle.path), "--check", str(path)]) in (1, 2)
        calm(capsys)
    assert main(["verify", str(bundle.path), "--check", str(path), "--json"]) in (1, 2)
    calm(capsys)
    content = json.dumps({"derived": {"verdict": word}, "measured": {"engine": {"sha256": word}}})
    listed = bundle.add({"reports/00000000/report.json": content.encode()})
    assert main(["inspect", str(listed.path)]) in (0, 2)
    calm(capsys)


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", NAME],
        ["verify", NAME],
        ["verify", "--check", NAME],
        ["embed", NAME, NAME],
        ["bench", NAME, "--batch", NAME],
        ["calibrate", "--modality", NAME],
        ["calibrate", "--modality", "image", "--set", NAME],
        ["calibrate", "--config", NAME],
        ["calibrate", "--encoder", NAME, "--modality", "image"],
        ["centers", "--encoder", NAME, "--weights", NAME, "--labels", NAME, "--out", NAME],
        ["demo", "--modality", NAME],
        ["doctor", "--for", NAME],
        ["export", NAME, "--for", NAME],
    ],
)
def test_words_of_the_command_line(arguments: list[str], capsys: Capture) -> None:
    assert main(arguments) == 2
    assert "forged" in calm(capsys)


def test_unknown_commands_and_options(capsys: Capture) -> None:
    for arguments in ([f"x{NAME}"], ["inspect", f"--{NAME}"], ["inspect", "B", NAME]):
        assert main(arguments) == 2
        out, err = capsys.readouterr()
        assert {character for character in out + err if not character.isprintable()} <= {
            "\n"
        }  # the parser breaks lines


@pytest.mark.parametrize("traceback", [False, True])
@pytest.mark.parametrize("error", [RuntimeError(SURROGATE), InputError(SURROGATE, hint=SURROGATE)])
def test_crashes(error: Exception, traceback: bool, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def crash(*_: object) -> None:
        raise error

    monkeypatch.setattr("advcal_edge.bundle.Bundle.open", crash)
    if traceback:
        monkeypatch.setenv("ADVCAL_TRACEBACK", "1")
    assert main(["inspect", "B"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert {character for character in err if not character.isprintable()} <= {"\n"}
    told = [line for line in err.splitlines() if line.startswith(("error: ", "internal error: "))]
    assert len(told) == 1
    assert FORGED in told[0]
    assert ("Traceback" in err) is (traceback and not isinstance(error, AdvcalError))


def test_a_console_by_itself_is_as_careful(capsys: Capture) -> None:
    console = Console()
    console.say(f"reading {SURROGATE}")
    console.progress(SURROGATE, 1, 2)
    console.step(SURROGATE)
    console.result(f"one{HOSTILE.replace(FORGED, 'two')}")
    assert calm(capsys).count(FORGED) == 3


def test_only_our_own_progress_moves_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(TextIOWrapper):
        def isatty(self) -> bool:
            return True

    screen = Screen(BytesIO(), encoding="utf-8", newline="")
    plain = PlainStream(screen)
    monkeypatch.setattr(sys, "stderr", plain)
    console = Console()
    console.progress(f"attack{HOSTILE}", 1, 2)
    console.progress(f"attack{HOSTILE}", 2, 2)
    plain.flush()
    written = screen.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert written.count("\r\x1b[2K") == 2
    rest = written.replace("\r\x1b[2K", "")
    assert {character for character in rest if not character.isprintable()} <= {"\n"}


@pytest.mark.parametrize(
    "variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}]
)
def test_letters_that_a_terminal_lacks_do_not_stop_a_command(
    variables: dict[str, str], make_bundle: BundleMaker
) -> None:
    centers = make_centers()
    labels = ("Käfer", "猫", *centers.labels[2:])
    bundle = make_bundle().add({"centers.safetensors": replace(centers, labels=labels).to_bytes()})
    done = subprocess.run(
        [sys.executable, "-m", "advcal_edge", "inspect", str(bundle.path)],
        capture_output=True,
        env={**os.environ, **variables},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert rb"K\xe4fer, \u732b, cup" in done.stdout
