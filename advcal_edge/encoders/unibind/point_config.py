"""The published point encoder: I2P-MAE (arXiv:2212.06785) in the version of Point-Bind (arXiv:2309.00615).

Its sizes, its tensor names in the checkpoint, and its batch norms, which are affine maps once frozen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from advcal_edge.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

ENCODER = "point_encoder."
HEAD = "bind.modality_head_point."
PROJECTION = "pc_projection"
NORM_EPS = 1e-5

PLACES = (
    (r"stages\.(\d+)\.patch\.inner\.0\.", r"point_encoder.h_encoder.token_embed.\1.first_conv.0."),
    (r"stages\.(\d+)\.patch\.inner\.2\.", r"point_encoder.h_encoder.token_embed.\1.first_conv.3."),
    (r"stages\.(\d+)\.patch\.mix\.", r"point_encoder.h_encoder.token_embed.\1.second_conv.0."),
    (r"stages\.(\d+)\.patch\.outer\.", r"point_encoder.h_encoder.token_embed.\1.second_conv.3."),
    (r"stages\.(\d+)\.place\.", r"point_encoder.h_encoder.encoder_pos_embeds.\1."),
    (r"stages\.(\d+)\.blocks\.(\d+)\.attention\.", r"point_encoder.h_encoder.encoder_blocks.\1.blocks.\2.attn."),
    (r"stages\.(\d+)\.blocks\.(\d+)\.fc", r"point_encoder.h_encoder.encoder_blocks.\1.blocks.\2.mlp.fc"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.", r"point_encoder.h_encoder.encoder_blocks.\1.blocks.\2."),
    (r"norm\.", r"point_encoder.norm."),
    (r"bridge\.weight", PROJECTION),
    (r"head_norm\.", rf"{HEAD}0."),
    (r"head\.", rf"{HEAD}2."),
)
"""Prefixes of our names, each with the published one; the first match counts."""


@dataclass(frozen=True, slots=True)
class Level:
    """One scale: a number of neighbour groups, and a transformer over the groups."""

    groups: int
    neighbours: int
    patch: tuple[int, int, int]
    """Widths inside a group: hidden and described point, hidden after the group is known."""

    width: int
    radius: float
    """Groups attend to those nearer than this, in radii of the cloud."""


@dataclass(frozen=True, slots=True)
class PointConfig:
    """Levels from fine to coarse; each takes its groups from the centers of the previous one."""

    points: int = 8192
    levels: tuple[Level, ...] = (
        Level(512, 48, (128, 256, 512), 96, 0.24),
        Level(256, 24, (96, 96, 192), 192, 0.48),
        Level(64, 24, (192, 192, 384), 384, 0.96),
    )
    depth: int = 5
    """Blocks in each level."""

    heads: int = 6
    bridge: int = 512
    """Width between encoder and the projection into ImageBind's space."""

    embedding_dim: int = 1024


def is_of_points(name: str) -> bool:
    """Is this name in the checkpoint a weight of the point encoder or its projection into ImageBind's space?"""
    return name == PROJECTION or (name.startswith((ENCODER, HEAD)) and not name.endswith(".num_batches_tracked"))


def published_names(names: Iterable[str]) -> dict[str, str]:
    """Our names of the encoder's tensors, mapped to those in the checkpoint."""
    return {name: _published(name) for name in names}


def _published(name: str) -> str:
    ours, theirs = next(place for place in PLACES if re.match(place[0], name))
    return re.sub(rf"^{ours}", theirs, name)


def merge_norms(checkpoint: Mapping[str, Tensor], stages: int, where: str) -> dict[str, Tensor]:
    """The tensors with each batch norm merged into the linear map before it, and all maps as matrices (out, in).

    Raises:
        InputError: a tensor of a batch norm is missing.
    """
    tensors = dict(checkpoint)
    for stage in range(stages):
        for part in ("first_conv", "second_conv"):
            stem = f"{ENCODER}h_encoder.token_embed.{stage}.{part}"
            for layer in ("0", "3"):
                weight = _take(tensors, f"{stem}.{layer}.weight", where)
                tensors[f"{stem}.{layer}.weight"] = weight.squeeze(-1) if weight.ndim == 3 else weight
            _merge(tensors, stem, where)
    tensors[PROJECTION] = _take(tensors, PROJECTION, where).T.contiguous()
    return tensors


def _merge(tensors: dict[str, Tensor], stem: str, where: str) -> None:
    """Layer 1 of `stem` into its layer 0: W s and (b - mean) s + shift, with s = gain / sqrt(variance + eps)."""
    names = [f"{stem}.1.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
    gain, shift, mean, variance = (_take(tensors, name, where).double() for name in names)
    weight, bias = (_take(tensors, f"{stem}.0.{part}", where) for part in ("weight", "bias"))
    if weight.ndim != 2 or len({weight.shape[0], *(len(part) for part in (bias, gain, shift, mean, variance))}) != 1:
        raise InputError(f"the batch norm `{stem}.1` of {where} does not fit the map `{stem}.0` before it")
    scale = gain / (variance + NORM_EPS).sqrt()
    tensors[f"{stem}.0.weight"] = (weight.double() * scale[:, None]).float()
    tensors[f"{stem}.0.bias"] = ((bias.double() - mean) * scale + shift).float()


def _take(tensors: dict[str, Tensor], name: str, where: str) -> Tensor:
    if name not in tensors:
        raise InputError(f"{where} has no `{name}`; expected the whole point encoder I2P-MAE")
    return tensors.pop(name)
