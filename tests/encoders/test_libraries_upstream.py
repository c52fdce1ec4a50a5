"""Encoders of timm and open_clip against the libraries themselves, at random weights.

Both import torchvision, which belongs to another build of torch than ours: they run in an interpreter of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("libraries_upstream.py")
PINNED = ("timm==1.0.31", "open_clip_torch==3.3.0", "torchvision==0.28.0")
LIMIT = 1e-5


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of an interpreter that finds the libraries beside ours."""
    site = tmp_path_factory.mktemp("libraries")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target", str(site)]
    run = subprocess.run([*pip, *PINNED], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    ours = Path(__file__).parents[2]
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(ours), str(site))), "HF_HUB_OFFLINE": "1"}


def compared(python: dict[str, str], name: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, str(SCRIPT), name, str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, env=python)
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("model", "dim", "side", "license_text"),
    [
        ("vit_tiny_patch16_224", 192, 224, "unknown: see where the weights came from"),
        ("resnet18.a1_in1k", 512, 224, "apache-2.0"),
        ("convnext_atto", 320, 224, "unknown: see where the weights came from"),
        ("swin_tiny_patch4_window7_224", 768, 224, "unknown: see where the weights came from"),
    ],
)
def test_timm(model: str, dim: int, side: int, license_text: str, python: dict[str, str], tmp_path: Path) -> None:
    found = compared(python, f"timm:{model}", tmp_path / "F")
    print(f"{model}: {found['image']:.2g}")
    assert found["image"] < LIMIT
    assert (found["dim"], found["shape"], found["license"]) == (dim, [3, side, side], license_text)
    assert found["same"]
    assert "`training.pt` names its tensors with `module.` in front" in found["notes"][0]


@pytest.mark.parametrize(("model", "dim"), [("ViT-B-32", 512), ("RN50", 1024)])
def test_open_clip(model: str, dim: int, python: dict[str, str], tmp_path: Path) -> None:
    found = compared(python, f"openclip:{model}", tmp_path / "F")
    print(f"{model}: {found['image']:.2g}, text {found['text']:.2g}")
    assert found["image"] < LIMIT
    assert found["text"] < LIMIT
    assert found["temperature"] == pytest.approx(1)
    assert (found["dim"], found["same"]) == (dim, True)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timm:vit_tiny_patch16_225", "did you mean `vit_tiny_patch16_224`"),
        ("timm:hf-hub:someone/model", "unknown model of timm"),
        ("timm:vit_tiny_patch16_224.mine", "timm cannot build"),
        ("openclip:ViT-B-31", "did you mean `ViT-B-32`"),
        ("openclip:hf-hub:someone/model", "unknown model of open_clip"),
    ],
)
def test_a_model_that_the_library_does_not_have(name: str, words: str, python: dict[str, str], tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); import libraries_upstream\n"
        "from pathlib import Path; from advcal_edge.encoders.base import open_encoder\n"
        "from advcal_edge.errors import ConfigError\n"
        "try:\n"
        f"    open_encoder({name!r}, 'image', Path({str(tmp_path)!r}))\n"
        "except ConfigError as error:\n"
        "    print(error.message, error.hint)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=python)
    assert run.returncode == 0, run.stderr
    assert words in run.stdout
