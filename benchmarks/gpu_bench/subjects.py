"""The encoders whose calibration is measured: published sizes, random weights, and the default adapter in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from advcal_edge.calibrate.adapters import AdaptedModule, attach_parts
from advcal_edge.calibrate.adapters.lora import Core
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.encoders.languagebind.configuration import Configuration, TextSizes, Transformer, VisionSizes
from advcal_edge.encoders.languagebind.encoder import modality_of
from advcal_edge.encoders.languagebind.trunk import Trunk
from advcal_edge.spec import TensorSpec
from gpu_bench.trunks import SEED, build, config, spec

LANGUAGEBIND = Configuration(  # `config.json` of LanguageBind_Image, which is a ViT-L/14
    modality="image",
    embedding_dim=768,
    text=TextSizes(Transformer(768, 3072, 12, 12, "gelu", 1e-5), vocabulary=49408, context=77),
    vision=VisionSizes(
        transformer=Transformer(1024, 4096, 24, 16, "gelu", 1e-5),
        height=224,
        width=224,
        patch=14,
        frames=1,
        time_attention=False,
        time_mlp=False,
        class_token_a_frame=False,
        lora_rank=16,
        lora_alpha=16.0,
        max_depth=10.0,
        sample_rate=16000.0,
        audio_mean=0.5,
        audio_std=0.5,
    ),
)
TINY = Transformer(32, 64, 1, 2, "gelu", 1e-5)


@dataclass(frozen=True, slots=True)
class Subject:
    """A frozen encoder: its sensor, its width, and how its trunk is built where torch makes new tensors."""

    modality: str
    spec: TensorSpec
    dim: int
    build: Callable[[], nn.Module]


def imagebind_thermal(encoder: str) -> Subject:
    """ImageBind's trunk for thermal images, a ViT-B/16."""
    dim = config("thermal", encoder).embedding_dim
    return Subject("thermal", spec("thermal"), dim, partial(build, "thermal", encoder))


def languagebind_image(encoder: str) -> Subject:
    """LanguageBind's tower for images, whose own low-rank updates are merged when it is loaded."""
    sizes = LANGUAGEBIND
    if encoder == "tiny":
        sizes = replace(sizes, embedding_dim=TINY.width, vision=replace(sizes.vision, transformer=TINY))

    def tower() -> nn.Module:
        made = Trunk(sizes)
        nn.init.normal_(made.vision_model.embeddings.class_embedding, std=0.02)
        return made

    modality = modality_of(sizes, Path("LanguageBind_Image"))
    return Subject(modality.name, modality.input, sizes.embedding_dim, tower)


SUBJECTS: Mapping[str, Callable[[str], Subject]] = {
    "ImageBind thermal": imagebind_thermal,
    "LanguageBind image": languagebind_image,
}
"""By name; of an `--encoder`, of which `tiny` has the same structure far smaller."""


def adapted(who: Subject, config: CalibrateConfig, device: torch.device) -> AdaptedModule:
    """The encoder with the adapter of `config`, on `device`, with the same numbers each time.

    The bases of the low-rank cores are random: singular vectors take minutes to compute and make no step slower.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(SEED)
        with device:
            trunk = who.build()
        model = attach_parts(AdaptedModule(trunk), config.adapter, who.dim, config.seed).to(device)
        for part in model.modules():
            if isinstance(part, Core):
                part.left.normal_(std=len(part.left) ** -0.5)
                part.right.normal_(std=part.right.shape[1] ** -0.5)
    return model
