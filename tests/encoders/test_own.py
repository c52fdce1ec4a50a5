"""The guide's example of an encoder of one's own, as printed there, from calibration to a verified engine."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from advcal_edge.cli import main
from advcal_edge.encoders.base import fit_sensor, open_encoder
from advcal_edge.errors import ConfigError

GUIDE = Path(__file__).parents[2] / "docs/encoders.md"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    code = re.search(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert code is not None
    (tmp_path / "my_encoders.py").write_text(code[1])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_encoders", raising=False)
    return "my_encoders:clip"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        projection_dim=16,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(tmp_path / "weights")
    return tmp_path / "weights"


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label, base in (("red", (40, 40, 200)), ("blue", (200, 40, 40))):
        for index in range(24):
            file = tmp_path / "frames" / label / f"{index:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture = np.clip(np.array(base) + rng.normal(0, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
            file.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    return tmp_path / "frames"


def test_the_example_is_an_encoder(example: str, weights: Path) -> None:
    encoder = open_encoder(example, "image", weights)
    z = encoder.module()(torch.rand(3, *encoder.modality.input.shape))
    assert z.shape == (3, encoder.embedding_dim) == (3, 16)
    assert encoder.fingerprint == open_encoder(example, "image", weights).fingerprint
    with pytest.raises(ConfigError, match="returned an encoder of `image`; asked for `thermal`"):
        open_encoder(example, "thermal", weights)


def test_the_example_goes_all_the_way(
    example: str, weights: Path, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "B"
    arguments = ["calibrate", "--modality", "image", "--encoder", example, "--weights", str(weights)]
    arguments += ["--data", str(frames), "--out", str(bundle), "--json", "--samples", "20"]
    for setting in ("train.samples=24", "train.batch=8", "train.epochs=1", "evaluate.steps=2", "evaluate.queries=3"):
        arguments += ["--set", setting]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert "license MIT" in captured.err
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["encoder"]["name"] == example
    assert manifest["centers"]["source"] == "class means of 24 training samples"
    assert json.loads(captured.out)["metrics"]["before"]["clean"]["accuracy"] > 0.9
    assert main(["export", str(bundle), "--precision", "fp32", "--no-gradient"]) == 0

    weights.rename(tmp_path / "elsewhere")
    assert main(["export", str(bundle), "--precision", "fp32", "--no-gradient"]) == 2
    assert "--weights PATH" in capsys.readouterr().err
    moved = ["--weights", str(tmp_path / "elsewhere")]
    assert main(["export", str(bundle), "--precision", "fp32", "--no-gradient", *moved]) == 0


def test_an_encoder_that_hands_out_one_module_twice(
    example: str, weights: Path, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "my_encoders.py"
    source.write_text(source.read_text().replace("deepcopy(self.tower)", "self.tower"))
    arguments = ["calibrate", "--modality", "image", "--encoder", example, "--weights", str(weights)]
    arguments += ["--data", str(frames), "--out", str(tmp_path / "B"), "--set", "train.samples=16"]
    assert main([*arguments, "--set", "train.batch=8", "--set", "train.epochs=1"]) == 2
    assert "must return a new module each time" in capsys.readouterr().err


def test_a_factory_that_makes_no_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_done.py").write_text("def factory(modality, weights):\n    return object()\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="returned a object without `name`; expected an encoder"):
        open_encoder("half_done:factory", "image", None)


def test_a_sensor_with_other_settings(example: str, weights: Path) -> None:
    encoder = open_encoder("bindlite", "depth", None)
    changed = fit_sensor(encoder, {"baseline_m": 0.05})
    assert (changed.modality.settings["baseline_m"], changed.fingerprint) == (0.05, encoder.fingerprint)
    assert fit_sensor(encoder, {}) is encoder
    with pytest.raises(ConfigError, match="the modality `image` has no setting `baseline_m`"):
        fit_sensor(open_encoder(example, "image", weights), {"baseline_m": 0.05})
