"""`advcal-edge calibrate`: what it prints where, what it refuses, and the order in which settings win."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from advcal_edge.bundle import Bundle
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.cli import main
from advcal_edge.cli.console import Console
from advcal_edge.encoders.bindlite import Bindlite

Capture = pytest.CaptureFixture[str]
QUICK = ["--adapter", "head", "--threat", "static", "--samples", "4", "--set", "evaluate.steps=1",
         "--set", "evaluate.queries=2", "--set", "craft.static_steps=1", "--set", "train.samples=8",
         "--set", "train.batch=4", "--set", "train.cached_epochs=2"]  # fmt: skip


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Two classes of noise in two folders."""
    rng = np.random.default_rng(0)
    for label in Bindlite.load("thermal").centers().labels[:2]:
        for index in range(8):
            path = tmp_path / "data" / label / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode(".png", rng.integers(0, 256, (64, 64), np.uint8))[1].tobytes())
    return tmp_path / "data"


def test_table_and_next_command(frames: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "B"
    assert main(["calibrate", "--modality", "thermal", "--data", str(frames), "--out", str(out), *QUICK]) == 0
    stdout, stderr = capsys.readouterr()
    for text in ("before", "after", "clean", "static PGD", "adaptive APGD", "black box", "worst case", "on 4 held-out"):
        assert text in stdout
    assert "arXiv 2505.11895 stays below 1.0 %" in stdout
    first, *_ = stderr.splitlines()
    for text in ("bindlite thermal", str(frames), "fast: adapter head, ce + 5 l2, static", "linf eps 4/255", "seed 0"):
        assert text in first
    assert "the adaptive columns tell" in stderr
    assert stderr.splitlines()[-1] == f"next: advcal-edge export {out}"
    assert Bundle.open(out).modality.name == "thermal"


def test_json(frames: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "B"
    assert main(["calibrate", "--modality", "thermal", "--data", str(frames), "--out", str(out), *QUICK, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bundle"] == str(out)
    assert found["adapter"]["kind"] == "head"
    assert found["metrics"]["n"] == 4
    clean = found["metrics"]["after"]["clean"]
    assert clean["accuracy"] == clean["correct"] / 4
    assert clean["interval"][0] <= clean["accuracy"] <= clean["interval"][1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give `--modality`"),
        (["--modality", "thermla"], "did you mean `thermal`?"),
        (["--modality", "thermal", "--encoder", "bindlit"], "did you mean `bindlite`?"),
        (["--modality", "thermal", "--adapter", "hed"], "did you mean `head`?"),
        (["--modality", "thermal", "--objective", "cee"], "did you mean `ce`?"),
        (["--modality", "thermal", "--threat", "dynamic"], "`adaptive`, `static`"),
        (["--modality", "thermal", "--eps", "4"], "4/255"),
        (["--modality", "thermal", "--eps", "-1/255"], "above 0 and at most 1"),
        (["--modality", "thermal", "--eps", "small"], "expected a number like"),
        (["--modality", "thermal", "--set", "train.epoch=3"], "did you mean `train.epochs`?"),
        (["--modality", "thermal", "--set", "train.batch=99999"], "expected at most `train.samples`"),
        (["--modality", "thermal", "--samples", "0"], "--samples"),
        (["--modality", "thermal", "--skip-bad"], "nothing to skip without `--data`"),
        (["--modality", "thermal", "--config", "absent.toml"], "cannot read `absent.toml`: No such file"),
        (["--modality", "thermal", "--data", "absent"], "is no folder and no csv file"),
        (["--modality", "thermal", "--seed", "-1"], "--seed"),
    ],
)
def test_mistakes(
    arguments: list[str], message: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", *arguments]) == 2
    stdout, stderr = capsys.readouterr()
    assert message in stderr
    assert not stdout
    assert not list(tmp_path.iterdir())  # nothing is left behind


def test_resume_needs_something(frames: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "B"
    arguments = ["calibrate", "--modality", "thermal", "--data", str(frames), "--out", str(out), *QUICK]
    assert main([*arguments, "--resume"]) == 2
    assert "nothing to resume" in capsys.readouterr().err


def test_interrupt_and_resume(frames: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "B"
    arguments = ["calibrate", "--modality", "thermal", "--data", str(frames), "--out", str(out), *QUICK]

    def interrupt(console: Console, stage: str, done: int, total: int) -> None:
        if stage == "calibrate" and done == total // 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Console, "progress", interrupt)
        assert main(arguments) == 130
    assert "the same command with `--resume` goes on" in capsys.readouterr().err
    assert not out.exists()
    assert main([*arguments, "--resume"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["B", "data"]


def test_bad_files(frames: Path, tmp_path: Path, capsys: Capture) -> None:
    bad = next(frames.iterdir()) / "broken.png"
    bad.write_bytes(b"no picture")
    arguments = ["calibrate", "--modality", "thermal", "--data", str(frames), "--out", str(tmp_path / "B"), *QUICK]
    assert main(arguments) == 2
    stderr = capsys.readouterr().err
    assert "broken.png" in stderr
    assert "--skip-bad" in stderr
    assert main([*arguments, "--skip-bad"]) == 0
    assert "skipped 1 unreadable file\n" in capsys.readouterr().err
    assert Bundle.open(tmp_path / "B").section("data")["skipped"] == 1


def test_files_of_two_kinds_and_what_a_system_left(frames: Path, tmp_path: Path, capsys: Capture) -> None:
    label = next(frames.iterdir())
    counts = np.random.default_rng(1).integers(29_000, 31_000, (64, 64)).astype(np.uint16)
    (label / "deep.png").write_bytes(cv2.imencode(".png", counts)[1].tobytes())
    (label / "Thumbs.db").write_bytes(b"x")
    arguments = ["calibrate", "--modality", "thermal", "--data", str(frames), "--out", str(tmp_path / "B"), *QUICK]
    assert main(arguments) == 2
    stderr = capsys.readouterr().err
    assert "16 in 8 bits" in stderr
    assert "1 in 16 bits, like " in stderr
    assert main([*arguments, "--assume-units"]) == 0
    assert f"left out 1 of `{frames}` that are no frames: 1 of `Thumbs.db`" in capsys.readouterr().err
    bundle = Bundle.open(tmp_path / "B")
    assert bundle.modality.text("assume_units") == "yes"
    assert bundle.section("data")["left_out"] == {"Thumbs.db": 1}


def test_occupied_destination(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "letter.txt").write_text("dear all")
    assert main(["calibrate", "--modality", "thermal", "--out", str(tmp_path)]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert (tmp_path / "letter.txt").read_text() == "dear all"


def test_full_disk(frames: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    out = tmp_path / "B"
    assert main(["calibrate", "--modality", "thermal", "--data", str(frames), "--out", str(out), *QUICK]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not out.exists()


def test_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from advcal_edge.cli import calibrate as command

    seen: list[CalibrateConfig] = []
    monkeypatch.setattr(command, "run", lambda chosen, console, **_: seen.append(chosen))
    file = tmp_path / "c.toml"
    file.write_text('modality = "thermal"\nseed = 1\n[train]\nepochs = 1\n[threat]\neps = "1/255"\n')
    base = ["calibrate", "--config", str(file)]
    assert main(base) == 0
    assert main([*base, "--set", "seed=2", "--set", "threat.eps=2/255", "--eps", "3/255"]) == 0
    assert main([*base, "--modality", "image", "--set", "out=elsewhere", "--seed", "0"]) == 0
    found = [(c.modality, c.out, c.seed, round(c.threat.eps * 255), c.train.epochs) for c in seen]
    assert found == [
        ("thermal", "bundles/thermal", 1, 1, 1),
        ("thermal", "bundles/thermal", 2, 3, 1),
        ("image", "elsewhere", 0, 1, 1),
    ]


def test_calibration_in_l2_gives_a_bundle_of_l2(frames: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    base = ["calibrate", "--modality", "thermal", "--data", str(frames), "--out", str(out), *QUICK]
    assert main([*base, "--norm", "l2"]) == 0
    stdout, stderr = capsys.readouterr()
    assert "l2 eps as large as linf 4/255" in stderr.splitlines()[0]
    threat = Bundle.open(out).threat
    shape = Bundle.open(out).modality.input.shape
    assert threat.norm == "l2"
    assert threat.eps == pytest.approx(4 / 255 * np.sqrt(np.prod(shape) / 3), rel=1e-3)
    assert f"l2 {threat.eps:.6g}" in stdout
    assert Bundle.open(out).section("config")["threat"] == {"norm": "l2", "eps": threat.eps}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--norm", "l1"], "unknown value `l1`; expected one of: `linf`, `l2`"),
        (["--norm", "l2", "--eps", "0"], "above 0"),
        (["--norm", "l2", "--eps", "1000"], "every input is in reach of every other"),
        (["--set", "threat.kind=static"], "threat.kind"),
    ],
)
def test_what_calibrate_refuses(
    frames: Path, tmp_path: Path, arguments: list[str], message: str, capsys: Capture
) -> None:
    out = tmp_path / "out"
    base = ["calibrate", "--modality", "thermal", "--data", str(frames), "--out", str(out), *QUICK]
    assert main([*base, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_an_objective_on_the_command_line_brings_half_of_itself_on_clean_input(frames: Path, tmp_path: Path) -> None:
    """The preset's terms on clean input belong to the preset's objective; what is set by hand stays."""
    for extra, expected in (([], "half"), (["--set", "objective.clean=2 soft"], "2 soft")):
        out = tmp_path / f"B{len(extra)}"
        options = ["--modality", "thermal", "--data", str(frames), "--out", str(out), "--objective", "soft + 2 l2"]
        assert main(["calibrate", *options, *extra, *QUICK]) == 0
        objective = Bundle.open(out).section("config")["objective"]
        assert objective == {"attacked": "soft + 2 l2", "clean": expected}


def test_what_was_trained_and_what_was_estimated_is_said(frames: Path, tmp_path: Path, capsys: Capture) -> None:
    options = ["--modality", "thermal", "--data", str(frames), "--out", str(tmp_path / "B"), "--adapter", "stem-filter"]
    quick = [part for part in QUICK if part not in ("--adapter", "head", "--threat", "static")]
    assert main(["calibrate", *options, *quick]) == 0
    out = capsys.readouterr().out
    assert "trained 0.00 % of the encoder's parameters" in out
    assert "replaced 4.82 % by estimates from clean samples, untrained" in out
    adapter = Bundle.open(tmp_path / "B").section("adapter")
    assert (adapter["parameters"], adapter["estimated"]) == (0, 24672)
