"""The published model, `imagebind_huge` (arXiv:2305.05665, appendix B): sizes, input statistics, names of tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

EMBEDDING_DIM = 1024
MAX_LOGIT_SCALE = 100.0  # upstream's limit of the learned scale
CHECKPOINT = "https://dl.fbaipublicfiles.com/imagebind/imagebind_huge.pth"

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


@dataclass(frozen=True, slots=True)
class TrunkConfig:
    """One sensor's trunk.

    The rank of `kernel` decides what is a token: 1 a window of a series, 2 a patch of a plane, 3 a patch of a clip.
    """

    tower: str
    """Name of this trunk in upstream's checkpoint; images and videos share one."""

    shape: tuple[int, ...]
    """Shape of the input without the batch axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    width: int
    depth: int
    heads: int
    mean: tuple[float, ...]
    """Mean per channel; with `std` it maps physical x to the trunk's training input."""

    std: tuple[float, ...]
    stem_norm: bool = True
    """LayerNorm after the stem."""

    pre_norm: bool = False
    """LayerNorm before the first block."""

    bias_kv: bool = True
    """One learned key and value in every attention."""

    embedding_dim: int = EMBEDDING_DIM

    @property
    def repeats(self) -> int:
        """Number of repetitions of a still image in time that fill the kernel; 1 without repetition."""
        return self.kernel[0] if len(self.shape) == len(self.kernel) else 1

    @property
    def grid(self) -> tuple[int, ...]:
        """Tokens along each axis of the kernel."""
        extent = (self.repeats, *self.shape[1:])[-len(self.kernel) :]
        return tuple((e - k) // s + 1 for e, k, s in zip(extent, self.kernel, self.stride, strict=True))

    @property
    def tokens(self) -> int:
        """Tokens of the grid and the class token."""
        return math.prod(self.grid) + 1


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The text tower."""

    vocabulary: int = 49408
    context: int = 77
    width: int = 1024
    depth: int = 24
    heads: int = 16
    embedding_dim: int = EMBEDDING_DIM


VIDEO = TrunkConfig(
    "vision", (3, 2, 224, 224), (2, 14, 14), (2, 14, 14), width=1280, depth=32, heads=16,
    mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711),
    stem_norm=False, pre_norm=True, bias_kv=False,
)  # fmt: skip
"""CLIP's statistics, as in upstream's loaders of images and videos."""

AUDIO = TrunkConfig(
    "audio", (1, 128, 204), (16, 16), (10, 10), width=768, depth=12, heads=12, mean=(-4.268,), std=(9.138,)
)
"""Statistics of upstream's audio loader, of natural-log mel energies."""

THERMAL = TrunkConfig(
    "thermal", (1, 224, 224), (16, 16), (16, 16), width=768, depth=12, heads=12, mean=(0.0,), std=(1.0,)
)
"""No statistics: upstream does not publish a loader of thermal images.

Users who repeated its LLVIP result (63.4 %) got 62.4 % with plain [0, 1] and 55.2 % with a mean and deviation
(facebookresearch/ImageBind, pull request 73). Others, among them UniBind, use 0.5 and 0.5.
"""

DEPTH = TrunkConfig(
    "depth", (1, 224, 224), (16, 16), (16, 16), width=384, depth=12, heads=8, mean=(0.0418,), std=(0.0295,)
)
"""Statistics of disparity as a share of 75 pixels; upstream publishes no loader of depth, so this is our reading.

Its authors' code for disparity is in facebookresearch/omnivore, issue 12; the 75 pixels, mean and deviation are those
of Omnivore's transforms. Users who used them got results near the published ones or ten points lower
(facebookresearch/ImageBind, issues 14, 107 and 134): try them on your own samples.
"""

IMU = TrunkConfig(
    "imu", (6, 2000), (8,), (8,), width=512, depth=6, heads=8, mean=(0.0,) * 6, std=(1.0,) * 6
)  # fmt: skip
"""Acceleration in m/s2 and angular rate in rad/s, as Ego4D records them.

The paper gives 6 x 2000 for five seconds (appendix B); units, order of the channels and any normalisation are not
published (facebookresearch/ImageBind, issues 48, 66 and 131).
"""

HUGE: Mapping[str, TrunkConfig] = {
    "image": replace(VIDEO, shape=(3, 224, 224)),
    "video": VIDEO,
    "audio": AUDIO,
    "thermal": THERMAL,
    "depth": DEPTH,
    "imu": IMU,
}


def of_tower(name: str, tower: str) -> bool:
    """Is this name in the checkpoint a weight of `tower`, and neither its logit scale nor a constant?"""
    return re.match(rf"modality_(preprocessors|trunks|heads)\.{tower}\.(?!mask$)", name) is not None


def logit_scale_name(tower: str) -> str:
    """Name of the logarithm of the scale that upstream applies to unit embeddings; vision has none."""
    return f"modality_postprocessors.{tower}.1.log_logit_scale"


def published_names(names: Iterable[str], tower: str) -> dict[str, str]:
    """Our names of a tower's tensors, mapped to those in the checkpoint."""
    return {name: _published_name(name, tower) for name in names}


def _published_name(name: str, tower: str) -> str:
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
