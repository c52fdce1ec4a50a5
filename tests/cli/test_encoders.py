"""Encoders with weights on disk, from the command line: all the way, and exit 2 in words with bad ones."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from languagebind_folder import write_folder
from safetensors.torch import load_file, save_file

from advcal_edge.centers import Centers
from advcal_edge.cli import main

SHORT = ["--samples", "20"]
for setting in ("train.samples=24", "train.batch=8", "train.epochs=1", "evaluate.steps=2", "evaluate.queries=3"):
    SHORT += ["--set", setting]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return write_folder(tmp_path / "weights", "image")


@pytest.fixture
def centers(tmp_path: Path, weights: Path) -> Path:
    (tmp_path / "labels.txt").write_text("the cat\n\nthe\n")
    (tmp_path / "templates.txt").write_text("{}\nca {}\n")
    arguments = ["centers", "--encoder", "languagebind", "--weights", str(weights), "--out", str(tmp_path / "centers")]
    arguments += ["--labels", str(tmp_path / "labels.txt"), "--templates", str(tmp_path / "templates.txt")]
    assert main(arguments) == 0
    return tmp_path / "centers"


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label, base in (("the cat", 60), ("the", 190)):
        for index in range(24):
            file = tmp_path / "frames" / label / f"{index:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture = np.clip(base + rng.normal(0, 25, (30, 30, 3)), 0, 255).astype(np.uint8)
            file.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    return tmp_path / "frames"


def calibrate(modality: str, weights: Path, *more: str) -> int:
    return main(["calibrate", "--modality", modality, "--encoder", "languagebind", "--weights", str(weights), *more])


def test_centers_are_means_of_prompts(centers: Path, tmp_path: Path, weights: Path) -> None:
    from advcal_edge.encoders.languagebind import load_text

    loaded = Centers.load(centers)
    assert loaded.labels == ("the cat", "the")
    tower = load_text(weights)
    both = tower.embed(["the", "ca the"]).mean(axis=0)
    np.testing.assert_allclose(loaded.vectors[1], both / np.linalg.norm(both), atol=1e-6)
    assert loaded.temperature == tower.temperature
    assert "{} | ca {}" in loaded.source


@pytest.mark.slow
def test_from_text_to_a_verdict(
    weights: Path, centers: Path, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "B"
    assert (
        calibrate("image", weights, "--centers", str(centers), "--data", str(frames), "--out", str(bundle), *SHORT) == 0
    )
    assert "license MIT" in capsys.readouterr().err
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["encoder"]["license"] == "MIT"
    assert manifest["encoder"]["metadata"]["logit_scale"] > 0
    assert main(["export", str(bundle), "--precision", "fp32"]) == 0
    capsys.readouterr()
    assert main(["verify", str(bundle), "--engine", "fp32", "--samples", "12", "--json"]) in (0, 1)
    report = json.loads(capsys.readouterr().out)["engines"][0]
    assert report["measured"]["context"]["encoder"]["license"] == "MIT"
    clean = report["derived"]["comparisons"][0]
    assert (clean["only_reference"], clean["only_engine"]) == (0, 0)


def refused(
    capsys: pytest.CaptureFixture[str], weights: Path, frames: Path, words: str, modality: str = "image"
) -> None:
    assert calibrate(modality, weights, "--data", str(frames), "--out", str(frames.parent / "B"), *SHORT) == 2
    error = capsys.readouterr().err
    assert "internal error" not in error
    assert words in error
    assert not (frames.parent / "B").exists()


def test_no_weights(frames: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for encoder in ("imagebind", "languagebind", "unibind"):
        arguments = ["calibrate", "--modality", "image", "--encoder", encoder, "--data", str(frames)]
        assert main(arguments) == 2
        assert "--weights" in capsys.readouterr().err


def test_weights_that_are_not_there(frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for encoder in ("imagebind", "languagebind", "unibind"):
        arguments = ["calibrate", "--modality", "image", "--encoder", encoder, "--data", str(frames)]
        assert main([*arguments, "--weights", str(tmp_path / "absent.pth")]) == 2
        error = capsys.readouterr().err
        assert "absent.pth" in error
        assert "internal error" not in error


def test_weights_of_another_modality(weights: Path, frames: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, weights, frames, "image", modality="thermal")


def test_a_truncated_checkpoint(weights: Path, frames: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = weights / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    refused(capsys, weights, frames, "model.safetensors")


def test_missing_keys(weights: Path, frames: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = weights / "model.safetensors"
    tensors = load_file(file)
    name = next(key for key in tensors if key.startswith("vision_model") and "fc1" in key)
    del tensors[name]
    save_file(tensors, file)
    refused(capsys, weights, frames, "fc1")


def test_double_precision(weights: Path, frames: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = weights / "model.safetensors"
    save_file(
        {name: value.double() if value.is_floating_point() else value for name, value in load_file(file).items()}, file
    )
    refused(capsys, weights, frames, "float64")


class Harmful:
    """What a hostile pickle does: run something of its own."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("executed"),)


def test_a_pickle_with_code_is_refused_unread(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weights": Harmful()}, tmp_path / "bad.pth")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps({"weights": Harmful()}))
    for name in ("bad.pth", "raw.pth"):
        arguments = ["calibrate", "--modality", "thermal", "--encoder", "imagebind", "--data", str(frames)]
        assert main([*arguments, "--weights", str(tmp_path / name)]) == 2
        error = capsys.readouterr().err
        assert name in error
        assert "internal error" not in error
    assert not (tmp_path / "executed").exists()


def test_a_checkpoint_of_something_else(frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"layer.weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    arguments = ["calibrate", "--modality", "thermal", "--encoder", "imagebind", "--data", str(frames)]
    assert main([*arguments, "--weights", str(tmp_path / "other.pth")]) == 2
    assert "other.pth" in capsys.readouterr().err


def test_centers_of_another_width(
    weights: Path, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wide"
    path.write_bytes(Centers(("the cat", "the"), np.eye(2, 7, dtype=np.float32), 0.1, "test").to_bytes())
    assert calibrate("image", weights, "--centers", str(path), "--data", str(frames)) == 2
    assert "the centers are 7 wide; `languagebind` embeds to 20 numbers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "templates", "words"),
    [
        ("", "{}", "labels.txt` is empty"),
        ("cat\ncat", "{}", "`cat` occurs twice"),
        ("cat", "{}", "at least two"),
        ("cat\ndog", "a photo", "holds no single `{}`"),
    ],
)
def test_bad_labels_and_templates(
    labels: str, templates: str, words: str, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.txt").write_text(labels)
    (tmp_path / "templates.txt").write_text(templates)
    arguments = ["centers", "--encoder", "languagebind", "--weights", str(weights), "--out", str(tmp_path / "c")]
    arguments += ["--labels", str(tmp_path / "labels.txt"), "--templates", str(tmp_path / "templates.txt")]
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "c").exists()
