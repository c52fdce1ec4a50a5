"""Folders in the layout of transformers: tiny models at random weights, written by the library itself."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn

VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
WORDS = ["<pad>", "<start>", "<end>", "a", "photo", "of", "cat", "dog", "tree", "."]
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": len(WORDS),
    "max_position_embeddings": 12,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
COLOURS = {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}
PICTURES = {
    "do_center_crop": True,
    "crop_size": {"height": 32, "width": 32},
    "size": {"shortest_edge": 32},
    "do_normalize": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    **COLOURS,
}
SOUNDS = {
    "feature_extractor_type": "ASTFeatureExtractor",
    "num_mel_bins": 16,
    "max_length": 40,
    "sampling_rate": 16000,
    "mean": -4.2677393,
    "std": 4.5689974,
    "do_normalize": True,
}


def build(kind: str) -> nn.Module:
    """A model of the library with every parameter drawn, so that no part of it is zero."""
    t: Any = transformers
    models_of = {
        "clip": lambda: t.CLIPModel(t.CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=16)),
        "clip_vision": lambda: t.CLIPVisionModelWithProjection(t.CLIPVisionConfig(**VISION, projection_dim=16)),
        "siglip": lambda: t.SiglipModel(t.SiglipConfig(vision_config=VISION, text_config=TEXT)),
        "dinov2": lambda: t.Dinov2Model(t.Dinov2Config(**VISION, mlp_ratio=2)),
        "vit": lambda: t.ViTModel(t.ViTConfig(**VISION)),
        "vit_classifier": lambda: t.ViTForImageClassification(t.ViTConfig(**VISION, num_labels=3)),
        "convnext": lambda: t.ConvNextModel(t.ConvNextConfig(depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16])),
        "ast": lambda: t.ASTModel(
            t.ASTConfig(
                **{key: VISION[key] for key in VISION if key != "image_size"},
                num_mel_bins=SOUNDS["num_mel_bins"], max_length=SOUNDS["max_length"],
                frequency_stride=4, time_stride=4,
            )
        ),
        "wav2vec2": lambda: t.Wav2Vec2Model(
            t.Wav2Vec2Config(
                hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
                conv_dim=[8, 8], conv_stride=[2, 2], conv_kernel=[3, 3], num_conv_pos_embeddings=8,
                num_conv_pos_embedding_groups=2,
            )
        ),
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = models_of[kind]().eval()
        for name, parameter in model.named_parameters():
            shift = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.data.normal_(shift, 0.2).clamp_(-3, 3)
            if name.endswith("logit_scale"):
                parameter.data.fill_(3.0)
    return model


def write(folder: Path, kind: str, **changes: Any) -> nn.Module:
    """Write a model, what its processor does and its tokenizer; `changes` are of the processor's settings."""
    model: Any = build(kind)
    model.save_pretrained(folder)
    settings: Mapping[str, Any] = SOUNDS if kind in ("ast", "wav2vec2") else PICTURES
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, **changes}))
    if kind in ("clip", "siglip"):
        write_tokenizer(folder)
    return model


def write_tokenizer(folder: Path) -> None:
    """One token a word, between start and end."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token=WORDS[-1]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    special = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), (*WORDS[:3], WORDS[-1]), strict=True))
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    fast.save_pretrained(folder)


def into_cache(folder: Path, cache: Path, revision: str = "0123abcd") -> Path:
    """The same files as a hub's cache keeps them: links from a snapshot to blobs; returns the model's folder there."""
    model = cache / "models--someone--something"
    snapshot = model / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (model / "blobs").mkdir()
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(revision)
    for index, path in enumerate(sorted(folder.iterdir())):
        blob = model / "blobs" / f"{index:040x}"
        blob.write_bytes(path.read_bytes())
        os.symlink(os.path.relpath(blob, snapshot), snapshot / path.name)
    return model
