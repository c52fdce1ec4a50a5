"""Folders as LanguageBind publishes them, small and with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from advcal_edge.encoders.languagebind.configuration import MODEL_TYPES, read_configuration
from advcal_edge.encoders.languagebind.text import END, START, TextTrunk
from advcal_edge.encoders.languagebind.trunk import Trunk
from advcal_edge.encoders.languagebind.weights import DOWN, UP, updated_maps

Section = dict[str, Any]
Tensors = dict[str, Tensor]

VISION: Section = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
    "lora_r": 2,
    "lora_alpha": 16,
}
TEXT: Section = {
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 600,
    "max_position_embeddings": 16,
}
OF_MODALITY: dict[str, Section] = {
    "image": {},
    "video": {"add_time_attn": True, "num_frames": 3},
    "audio": {"num_mel_bins": 28, "target_length": 42, "audio_mean": -4.0, "audio_std": 4.5},
    "depth": {"max_depth": 8.0},
    "thermal": {},
}
MERGES = ("t h", "th e</w>", "c a", "ca t</w>")


def write_folder(folder: Path, modality: str, vision: Section | None = None, file: str = "model.safetensors") -> Path:
    """A whole folder; `vision` changes its section of `config.json`."""
    folder.mkdir(parents=True)
    section = {**VISION, **OF_MODALITY[modality], **(vision or {})}
    write_config(folder, modality, {"projection_dim": 20, "text_config": TEXT, "vision_config": section})
    save(random_tensors(folder), folder / file)
    write_tokenizer(folder)
    return folder


def write_config(folder: Path, modality: str, sections: Section) -> None:
    """`config.json` alone."""
    text = json.dumps({"model_type": MODEL_TYPES[modality], **sections})
    (folder / "config.json").write_text(text, encoding="utf-8")


def random_tensors(folder: Path) -> Tensors:
    """All tensors that the `config.json` of `folder` calls for, updates included."""
    configuration = read_configuration(folder)
    sizes = configuration.vision
    generator = torch.Generator().manual_seed(0)
    shapes = {
        name: tensor.shape
        for module in (Trunk(configuration), TextTrunk(configuration.text, configuration.embedding_dim))
        for name, tensor in module.state_dict().items()
    }
    for name in updated_maps(sizes):
        outputs, inputs = shapes[f"{name}.weight"]
        shapes[name + DOWN] = torch.Size((sizes.lora_rank, inputs))
        shapes[name + UP] = torch.Size((outputs, sizes.lora_rank))
    tensors = {name: 0.3 * torch.randn(shapes[name], generator=generator) for name in sorted(shapes)}
    tensors["vision_model.embeddings.position_ids"] = torch.arange(sizes.tokens)[None]
    return {**tensors, "logit_scale": torch.tensor(3.0)}


def save(tensors: Tensors, path: Path) -> None:
    """As safetensors or, behind `.bin`, as torch writes it."""
    if path.suffix == ".bin":
        torch.save(tensors, path)
    else:
        save_file(tensors, path)


def write_tokenizer(folder: Path) -> None:
    """Letters, letters that end a word, a few merges, start and end: CLIP's layout."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!'"
    joined = ["".join(merge.split()) for merge in MERGES]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), *joined, START, END]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n", encoding="utf-8")
