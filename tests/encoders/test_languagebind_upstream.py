"""Our towers against LanguageBind itself (its package 0.1.0) at random weights: same pixels and words, same embeddings.

LanguageBind needs libraries older than ours, so it runs in an interpreter that sees them first and shares our torch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from advcal_edge.encoders.languagebind import Languagebind, load_text
from advcal_edge.encoders.languagebind.trunk import Trunk

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("languagebind_upstream.py")
PINNED = (
    "languagebind==0.1.0",
    "transformers==4.44.2",  # the last before CLIP compared each side of an input with a square's: audio's is none
    "tokenizers==0.19.1",
    "huggingface-hub==0.36.2",
    "peft==0.12.0",
    "accelerate==1.15.0",
    "einops==0.8.2",
    "regex==2026.11.19",
    "requests==2.34.2",
    "urllib3==2.8.0",
    "idna==3.20",
    "certifi==2026.10.19.post1",
    "charset-normalizer==3.5.2",
    "PyYAML==6.0.4",
    "tqdm==4.70.1",
    "packaging==26.3",
    "psutil==7.2.2",
)
PROMPTS = ("a photo of a cat", "Two  dogs' tails: they DON'T wag 42 times!", "naïve café, 猫", "walking " * 90)
LIMIT = 2e-5

Case = dict[str, Any]
SMALL_TEXT = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4}
SMALL |= {"image_size": 56, "patch_size": 14}
LARGE_TEXT = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
LARGE |= {"image_size": 224, "patch_size": 14, "hidden_act": "gelu", "lora_r": 16}


def small(modality: str, vision: Case, *, file: str, names: str, older: bool = False) -> Case:
    sections: Case = {"text_config": {**SMALL_TEXT, "vocab_size": 600}, "vision_config": {**SMALL, **vision}}
    if older:  # what the older section leaves out falls back to defaults and not to the newer section
        sections |= {"vision_config_dict": {**SMALL, **vision}, "vision_config": {"layer_norm_eps": 0.5, **SMALL}}
    return {
        "modality": modality,
        "config": {"projection_dim": 32, **sections},
        "format": file,
        "names": names,
        "batch": 3,
        "prompts": PROMPTS,
    }


CASES = {
    "image": small("image", {"lora_r": 4, "hidden_act": "gelu"}, file="bin", names="old"),
    "video": small("video", {"add_time_attn": True, "num_frames": 4, "lora_r": 8}, file="safetensors", names="new"),
    "video-tuned": small(
        "video",
        {"add_time_attn": True, "num_frames": 4, "lora_r": 0, "clip_type": "vl_new", "tube_size": 1},
        file="bin",
        names="new",
    ),
    "audio": small("audio", {"num_mel_bins": 28, "target_length": 75, "lora_alpha": 3}, file="bin", names="new"),
    "depth": small("depth", {"add_time_attn": True, "lora_r": 2}, file="safetensors", names="old"),
    "thermal": small("thermal", {"hidden_act": "gelu"}, file="bin", names="old", older=True),
}
LARGE_IMAGE: Case = {
    "modality": "image",
    "config": {"projection_dim": 768, "text_config": {**LARGE_TEXT, "hidden_act": "gelu"}, "vision_config": LARGE},
    "format": "bin",
    "names": "old",
    "batch": 2,
    "prompts": PROMPTS,
}


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with LanguageBind and what it needs but torch; that it cannot be installed is an error."""
    folder = tmp_path_factory.mktemp("languagebind")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    run = subprocess.run([*pip, *PINNED], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return folder


def run_upstream(libraries: Path, case: Case, folder: Path) -> dict[str, torch.Tensor]:
    """Let LanguageBind write its folder, and read what it computed."""
    description = folder.with_suffix(".json")
    description.write_text(json.dumps(case), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(libraries), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(SCRIPT), str(description), str(folder)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return load_file(folder / "expected.safetensors")


def compare(case: Case, folder: Path, expected: dict[str, torch.Tensor]) -> tuple[float, float]:
    """Largest differences of normalised embeddings: of the sensor's tower, and of the text tower."""
    encoder = Languagebind.load(case["modality"], folder)
    trunk = encoder.module()
    assert isinstance(trunk, Trunk)
    with torch.no_grad():
        ours = F.normalize(trunk.embed_normalised(expected["pixel_values"]), dim=-1)
    text = load_text(folder)
    assert text.temperature == pytest.approx(1 / expected["logit_scale"].item())
    assert encoder.metadata["logit_scale"] == pytest.approx(expected["logit_scale"].item())
    return (
        float((ours - expected["image_embeds"]).abs().max()),
        float(np.abs(text.embed(case["prompts"]) - expected["text_embeds"].numpy()).max()),
    )


@pytest.mark.parametrize("name", CASES)
def test_embeddings_are_those_of_languagebind(libraries: Path, tmp_path: Path, name: str) -> None:
    case, folder = CASES[name], tmp_path / name
    expected = run_upstream(libraries, case, folder)
    difference, difference_of_text = compare(case, folder, expected)
    print(f"{name}: {difference:.2g}, text {difference_of_text:.2g}")
    assert difference < LIMIT
    assert difference_of_text < LIMIT
    for embeddings in (expected["image_embeds"], expected["text_embeds"]):
        others = (embeddings @ embeddings.T).fill_diagonal_(-1)
        assert others.max() < 0.999, "samples so alike could be exchanged unnoticed"


def test_ids_are_those_of_languagebind(libraries: Path, tmp_path: Path) -> None:
    folder = tmp_path / "image"
    expected = run_upstream(libraries, CASES["image"], folder)["input_ids"].tolist()
    found = [encoding.ids for encoding in load_text(folder).tokenizer.encode_batch(list(PROMPTS))]
    assert found == [ids[: len(found[0])] for ids in expected]


def test_embeddings_are_those_of_languagebind_at_full_size(libraries: Path, tmp_path: Path) -> None:
    folder = tmp_path / "large"
    expected = run_upstream(libraries, LARGE_IMAGE, folder)
    try:
        difference, difference_of_text = compare(LARGE_IMAGE, folder, expected)
    finally:
        (folder / "pytorch_model.bin").unlink()  # 1.7 GB
    print(f"full size: {difference:.2g}, text {difference_of_text:.2g}")
    assert difference < LIMIT
    assert difference_of_text < LIMIT
