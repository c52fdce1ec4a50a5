"""What upstream's checkpoint calls the tensors of each tower."""

from __future__ import annotations

import re
from collections.abc import Iterable

STEMS = {
    "vision": "rgbt_stem.proj.1",
    "audio": "rgbt_stem.proj",
    "thermal": "rgbt_stem.proj",
    "depth": "depth_stem.proj",
    "imu": "imu_stem.proj",
}
POSITIONS = {"imu": "pos_embed", "text": "pos_embed"}
HEADS = {"imu": ("0", "3"), "text": ("proj.0", "proj.1")}

BLOCK = {
    "norm1": "norm_1",
    "norm2": "norm_2",
    "attention.qkv.weight": "attn.in_proj_weight",
    "attention.qkv.bias": "attn.in_proj_bias",
    "attention.proj": "attn.out_proj",
    "attention.bias": "attn.bias",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
}


def of_tower(name: str, tower: str) -> bool:
    """Whether this name in the checkpoint is a weight of `tower`: neither its logit scale nor a constant."""
    return re.match(rf"modality_(preprocessors|trunks|heads)\.{tower}\.(?!mask$)", name) is not None


def logit_scale_name(tower: str) -> str:
    """Name of the logarithm of the scale that upstream multiplies its unit embeddings with; vision has none."""
    return f"modality_postprocessors.{tower}.1.log_logit_scale"


def published_names(names: Iterable[str], tower: str) -> dict[str, str]:
    """Our names of a tower's tensors, each with the one it has in the checkpoint."""
    return {name: _published(name, tower) for name in names}


def _published(name: str, tower: str) -> str:
    norm, head = HEADS.get(tower, ("0", "2"))
    before, trunk, after = (f"modality_{part}.{tower}" for part in ("preprocessors", "trunks", "heads"))
    stem = STEMS.get(tower, "")
    places = {
        "class_token": f"{before}.cls_token",
        "position": f"{before}.{POSITIONS.get(tower, 'pos_embedding_helper.pos_embed')}",
        "words": f"{before}.token_embedding",
        "stem.project": f"{before}.{stem}",
        "stem.norm": f"{before}.{stem.partition('.')[0]}.norm_layer",
        "pre_norm": f"{trunk}.pre_transformer_layer.0",
        "norm": f"{after}.{norm}",
        "head": f"{after}.{head}",
    }
    block = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
    if block:
        number, rest = block.groups()
        ours = next(key for key in BLOCK if rest.startswith(key))
        return f"{trunk}.blocks.{number}.{BLOCK[ours]}{rest.removeprefix(ours)}"
    ours = next(key for key in places if name == key or name.startswith(f"{key}."))
    return places[ours] + name.removeprefix(ours)
