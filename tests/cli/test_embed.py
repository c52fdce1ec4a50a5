"""`advcal-edge embed`: labels on stdout, arrays in a file, nothing half-written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny import CLASSES, DIM, BundleMaker, Linear, make_centers

from advcal_edge.cli import main
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.sensors import read_frame
from advcal_edge.spec import image, point

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def frames(tmp_path: Path) -> list[str]:
    """Two thermal frames, one as png and one as an array."""
    rng = np.random.default_rng(0)
    png, npy = tmp_path / "one.png", tmp_path / "two.npy"
    cv2.imwrite(str(png), rng.integers(28000, 31000, (12, 10), dtype=np.uint16))
    np.save(npy, rng.integers(28000, 31000, (8, 8), dtype=np.uint16))
    return [str(png), str(npy)]


def test_table(make_bundle: BundleMaker, frames: list[str], capsys: Capture) -> None:
    path = make_bundle().path
    assert main(["embed", str(path), *frames, "--top", "2"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split() == ["file", "label", "score"]
    assert len(lines) == 1 + 2 * 2
    assert [line.split()[0] for line in lines[1::2]] == frames
    assert "not verified" in err
    assert f"next: advcal-edge verify {path}" in err


def test_json_and_archive_agree_with_the_library(
    make_bundle: BundleMaker, frames: list[str], tmp_path: Path, capsys: Capture
) -> None:
    bundle, out = make_bundle(verdicts={"fp32": "pass"}), tmp_path / "new" / "z.npz"
    command = ["embed", str(bundle.path), *frames, "--json", "--require-verified", "--out", str(out)]
    assert main([*command, "--top", "9"]) == 0
    data = json.loads(capsys.readouterr().out)
    embedder = Embedder.load(bundle.path)
    z = embedder.embed_frames([read_frame(f, embedder.modality) for f in frames])
    assert data["verified"] is True
    assert [r["file"] for r in data["results"]] == frames
    best = [row[0].label for row in embedder.match(z)]
    assert [r["matches"][0]["label"] for r in data["results"]] == best
    assert all(sum(m["score"] for m in r["matches"]) == pytest.approx(1) for r in data["results"])
    assert len(data["results"][0]["matches"]) == CLASSES
    with np.load(out, allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["z"], z)
        assert archive["z"].shape == (2, DIM)
        assert archive["paths"].tolist() == frames
        assert archive["labels"].tolist() == best


def test_colour_frames(make_bundle: BundleMaker, tmp_path: Path, capsys: Capture) -> None:
    frame = tmp_path / "frame.png"
    cv2.imwrite(str(frame), np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8))
    assert main(["embed", str(make_bundle(Linear.random(image(8))).path), str(frame), "--top", "1"]) == 0
    assert any(label in capsys.readouterr().out for label in make_centers().labels)


@pytest.mark.parametrize("content", [None, b"", b"no frame"])
def test_unreadable_file_leaves_nothing_behind(
    make_bundle: BundleMaker, frames: list[str], tmp_path: Path, capsys: Capture, content: bytes | None
) -> None:
    bad, out = tmp_path / "bad.png", tmp_path / "z.npz"
    if content is not None:
        bad.write_bytes(content)
    path = make_bundle().path
    assert main(["embed", str(path), *frames, str(bad), "--out", str(out), "--top", "1"]) == 2
    stdout, err = capsys.readouterr()
    assert [line.split()[0] for line in stdout.splitlines()[1:]] == frames  # what was embedded before is not lost
    assert str(bad) in err
    assert not out.exists()
    assert not list(tmp_path.glob(".z.npz*"))
    assert main(["embed", str(path), *frames, str(bad), "--json"]) == 2
    assert capsys.readouterr().out == ""


def test_bad_files_are_skipped_and_listed(
    make_bundle: BundleMaker, frames: list[str], tmp_path: Path, capsys: Capture
) -> None:
    bad, gone, out = tmp_path / "bad.png", tmp_path / "gone.png", tmp_path / "z.npz"
    bad.write_bytes(b"no frame")
    files = [str(bad), frames[0], str(gone), frames[1]]
    bundle = make_bundle()
    command = ["embed", str(bundle.path), *files, "--skip-bad", "--out", str(out)]
    assert main([*command, "--json"]) == 1
    told, err = capsys.readouterr()
    data = json.loads(told)
    assert [row["file"] for row in data["results"]] == frames
    assert [row["file"] for row in data["skipped"]] == [str(bad), str(gone)]
    assert all(row["error"] and row["hint"] for row in data["skipped"])
    assert f"skipped {bad}: " in err
    assert "skipped 2 of 4 files" in err
    embedder = Embedder.load(bundle.path)
    with np.load(out, allow_pickle=False) as archive:
        assert archive["paths"].tolist() == frames
        expected = embedder.embed_frames([read_frame(f, embedder.modality) for f in frames])
        np.testing.assert_allclose(archive["z"], expected, atol=1e-6)
    out.unlink()
    assert main(["embed", str(bundle.path), str(bad), "--skip-bad", "--out", str(out)]) == 1
    assert capsys.readouterr().out == ""
    assert not out.exists()
    assert main(["embed", str(bundle.path), *frames, "--skip-bad"]) == 0


def test_settings_of_the_sensor_hold_for_these_files(make_bundle: BundleMaker, tmp_path: Path, capsys: Capture) -> None:
    sensor = replace(point(64), input=replace(point(64).input, bounds=(-1.0, 2.0)))  # a linear map of 0 has no norm
    bundle, file = make_bundle(Linear.random(sensor)), tmp_path / "cloud.npy"
    cloud = np.random.default_rng(0).normal(size=(300, 3)) * [1, 2, 3]
    np.save(file, np.column_stack([np.arange(300), cloud[:, ::-1]]))
    embedder = Embedder.load(bundle.path)
    expected = embedder.embed_frames([cloud])
    assert main(["embed", str(bundle.path), str(file)]) == 2
    assert "input.columns" in capsys.readouterr().err
    out = tmp_path / "z.npz"
    command = ["embed", str(bundle.path), str(file), "--out", str(out)]
    assert main([*command, "--set", "input.columns=-,z,y,x", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"] == {"columns": "-,z,y,x"}
    with np.load(out, allow_pickle=False) as archive:
        np.testing.assert_allclose(archive["z"], expected, atol=1e-6)
    declared = embedder.with_settings({"columns": "-,z,y,x"})
    np.testing.assert_array_equal(declared.embed_frames([read_frame(file, declared.modality)]), expected)
    assert declared.runner is embedder.runner
    assert main([*command, "--assume-units"]) == 0
    assert "input.assume_units=yes" in capsys.readouterr().err
    with np.load(out, allow_pickle=False) as archive:
        assert np.abs(archive["z"] - expected).max() > 1e-3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.epochs=8", "unknown setting `train`"),
        ("input.depth_scal=tum", "no setting `depth_scal`"),
        ("input.kelvin_per_count=leptn", "expected a positive number, or one of lepton"),
        ("kelvin", "is no setting"),
    ],
)
def test_settings_that_no_sensor_has(
    setting: str, message: str, make_bundle: BundleMaker, frames: list[str], capsys: Capture
) -> None:
    assert main(["embed", str(make_bundle().path), *frames, "--set", setting]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


def test_unverified_engine_is_refused_when_asked(make_bundle: BundleMaker, frames: list[str], capsys: Capture) -> None:
    path = make_bundle(verdicts={"fp32": "fail"}).path
    assert main(["embed", str(path), *frames, "--require-verified"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "no passing report" in err
    assert "hint:" in err


@pytest.mark.parametrize("extra", [["--engine", "fp8"], ["--top", "0"], ["--out", "/proc/none/z.npz"]])
def test_impossible_requests(make_bundle: BundleMaker, frames: list[str], extra: list[str], capsys: Capture) -> None:
    assert main(["embed", str(make_bundle().path), *frames, *extra]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "internal error" not in err


def test_no_files(make_bundle: BundleMaker) -> None:
    assert main(["embed", str(make_bundle().path)]) == 2


def test_no_input_is_wrong_usage(make_bundle: BundleMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", str(make_bundle().path)]) == 2
    assert "expected files" in capsys.readouterr().err
