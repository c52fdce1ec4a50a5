"""Encoders of libraries by name, from the command line: the folder is weights, and what was changed in them is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from transformers_folder import write

from advcal_edge import configure
from advcal_edge.centers import Centers
from advcal_edge.cli import main
from advcal_edge.errors import ConfigError

SHORT = ["--samples", "20"]
for setting in ("train.samples=24", "train.batch=8", "train.epochs=1", "evaluate.steps=2", "evaluate.queries=3"):
    SHORT += ["--set", setting]

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label, base in (("cat", 60), ("tree", 190)):
        for index in range(24):
            file = tmp_path / "frames" / label / f"{index:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture = np.clip(base + rng.normal(0, 25, (32, 32, 3)), 0, 255).astype(np.uint8)
            file.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    return tmp_path / "frames"


def test_a_folder_of_transformers_from_labels_to_graph(frames: Path, tmp_path: Path, capsys: Capture) -> None:
    folder, out = tmp_path / "F", tmp_path / "B"
    model: Any = write(folder, "clip")
    model.half().save_pretrained(folder)
    (tmp_path / "labels.txt").write_text("cat\ntree\n")
    centers = ["--labels", str(tmp_path / "labels.txt"), "--out", str(tmp_path / "c")]
    assert main(["centers", "--encoder", f"hf:{folder}", *centers]) == 0
    err = capsys.readouterr().err
    assert "`model.safetensors` holds float16, converted to float32" in err
    assert f"--encoder hf --weights {folder} --centers" in err
    assert Centers.load(tmp_path / "c").dim == 16

    arguments = ["--modality", "image", "--data", str(frames), "--centers", str(tmp_path / "c"), "--out", str(out)]
    assert main(["calibrate", "--encoder", f"hf:{folder}", *arguments, *SHORT]) == 0
    assert "`model.safetensors` holds float16, converted to float32" in capsys.readouterr().err
    encoder = json.loads((out / "manifest.json").read_text())["encoder"]
    assert (encoder["name"], encoder["weights"]) == ("hf", str(folder))
    assert encoder["metadata"]["model_type"] == "clip"
    assert encoder["license"] == "unknown: see where the weights came from"
    export = ["export", str(out), "--precision", "fp32", "--no-gradient"]
    assert main(export) == 0

    folder.rename(tmp_path / "elsewhere")
    assert main(export) == 2
    assert "--weights PATH" in capsys.readouterr().err
    assert main([*export, "--weights", str(tmp_path / "elsewhere")]) == 0


def test_weights_named_twice() -> None:
    with pytest.raises(ConfigError, match="`--encoder hf:F` and `--weights G` both name weights"):
        configure(modality="image", out="B", encoder="hf:F", weights="G")
    chosen = configure(modality="image", out="B", encoder="siglip:F:G")
    assert (chosen.encoder, chosen.weights) == ("siglip", "F:G")


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        ("hf", "`hf` brings no weights"),
        ("timm", "the encoder `timm` is one of many models"),
        ("openclip:", "the encoder `openclip` is one of many models"),
        ("bindlite:tiny", "the encoder `bindlite` takes no name after it"),
        ("hf:nowhere", "`nowhere` is no folder"),
        ("openclip:ViT-B-32", "`openclip:ViT-B-32` brings no weights"),
    ],
)
def test_names_that_lead_nowhere(encoder: str, words: str, tmp_path: Path, capsys: Capture) -> None:
    assert main(["calibrate", "--modality", "image", "--encoder", encoder, "--out", str(tmp_path / "B")]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert "hint:" in err


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        ("hf", "is in its checkpoint"),
        ("timm:resnet18", "unknown encoder with a text tower `timm:resnet18`"),
        ("dinov2", "unknown encoder with a text tower `dinov2`"),
        ("os:system", "unknown encoder with a text tower `os:system`"),
    ],
)
def test_text_towers_that_there_are_not(encoder: str, words: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "labels.txt").write_text("cat\ntree\n")
    weights = [] if encoder == "hf" else ["--weights", str(tmp_path)]
    arguments = ["--labels", str(tmp_path / "labels.txt"), "--out", str(tmp_path / "c"), *weights]
    assert main(["centers", "--encoder", encoder, *arguments]) == 2
    assert words in capsys.readouterr().err
