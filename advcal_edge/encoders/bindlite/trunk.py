"""The network: a vision transformer with ImageBind's structure (arXiv:2305.05665, section 3), a thousandth of its size.

Every operation is a plain matrix product, normalisation or softmax, so that the graph and its backward pass export to
ONNX with a dynamic batch and neither gathers nor scatters.

The first layer, the stem, makes patches of inputs on a grid; for point clouds it uses learned queries. Its output is
(n, width, ...) with any number of trailing axes, whose entries become the trunk's tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.encoders.transformer import Block, attend

QUERIES = 16
"""Tokens of a point cloud, as many as an image of 64 x 64 has patches."""

CONVOLUTIONS: tuple[type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, slots=True)
class TrunkConfig:
    """Sizes of one trunk; ImageBind's thermal trunk has `stem_norm` and `bias_kv`, its image trunk has `pre_norm`."""

    shape: tuple[int, ...]
    kernel: tuple[int, ...] | None
    """Size of a patch along every axis but the first; None for points, which are not on a grid."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Statistics of the training data, one per channel or one for all."""
    stem_norm: bool = True
    pre_norm: bool = False
    bias_kv: bool = True
    width: int = 96
    depth: int = 4
    heads: int = 4
    embedding_dim: int = 384

    @property
    def tokens(self) -> int:
        """Patches or queries, and the class token."""
        if self.kernel is None:
            return QUERIES + 1
        return prod(extent // step for extent, step in zip(self.shape[1:], self.kernel, strict=True)) + 1


TRUNKS: Mapping[str, TrunkConfig] = {
    "image": TrunkConfig(
        (3, 64, 64), (16, 16), (0.286, 0.286, 0.286), (0.353, 0.353, 0.353),
        stem_norm=False, pre_norm=True, bias_kv=False,
    ),
    "video": TrunkConfig((3, 2, 64, 64), (2, 16, 16), (0.42, 0.42, 0.37), (0.17, 0.17, 0.19)),
    "thermal": TrunkConfig((1, 64, 64), (16, 16), (0.45,), (0.25,)),
    "depth": TrunkConfig((1, 64, 64), (16, 16), (0.18,), (0.19,)),
    "audio": TrunkConfig((1, 64, 96), (16, 16), (-5.1,), (4.1,)),
    "imu": TrunkConfig((6, 50), (5,), (0.0,), (0.045, 0.045, 0.023, 0.062, 0.054, 0.102)),
    "event": TrunkConfig((3, 64, 64), (16, 16), (0.035, 0.065, 0.035), (0.124, 0.183, 0.124)),
    "point": TrunkConfig((256, 3), None, (0.0,), (0.32,)),
}  # fmt: skip
"""Means and deviations are rounded; those of image are of Fashion-MNIST's training pixels."""


class Trunk(nn.Module):
    """Physical x (n, *shape) within its bounds to an embedding (n, 384), not normalised."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        width = config.width
        per_channel = (1, -1, *(1 for _ in config.shape[1:]))
        self.config = config
        # from the configuration, since the weight file is float16
        self.register_buffer("mean", torch.tensor(config.mean).reshape(per_channel), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).reshape(per_channel), persistent=False)
        self.stem = (
            PointStem(width, config.heads) if config.kernel is None else _patches(config.shape[0], width, config.kernel)
        )
        self.stem_norm = nn.LayerNorm(width, eps=1e-6) if config.stem_norm else nn.Identity()
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(0.2 * torch.randn(1, config.tokens, width))
        self.pre_norm = nn.LayerNorm(width, eps=1e-6) if config.pre_norm else nn.Identity()
        self.blocks = nn.Sequential(*(Block(width, config.heads, config.bias_kv) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, config.embedding_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / self.std
        seen = self.stem_norm(self.stem(x).flatten(2).transpose(1, 2))
        tokens = torch.cat([self.class_token.expand(x.shape[0], -1, -1), seen], dim=1) + self.position
        tokens = self.blocks(self.pre_norm(tokens))
        embedding: Tensor = self.head(self.norm(tokens[:, 0]))
        return embedding


def _patches(channels: int, width: int, kernel: tuple[int, ...]) -> nn.Module:
    """Non-overlapping patches, along one, two or three axes."""
    # overlapping patches (stride 12 for 16): 70 % slower, not more accurate in a short trial on images.
    # With a LayerNorm behind it a bias would be redundant; ImageBind has none either way.
    return CONVOLUTIONS[len(kernel) - 1](channels, width, kernel, kernel, bias=False)  # type: ignore[arg-type]


class PointStem(nn.Module):
    """Points (n, p, 3) to (n, width, 16): a small MLP on each point, then cross-attention from learned queries.

    Independent of the order of the points (Lee et al. 2019, arXiv:1810.00825, pooling by attention). The usual
    grouping by neighbourhood would gather and sort.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.fc1 = nn.Linear(3, width)
        self.fc2 = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.kv = nn.Linear(width, 2 * width)
        self.queries = nn.Parameter(torch.randn(1, QUERIES, width))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        points = self.norm(self.fc2(F.gelu(self.fc1(x))))
        key, value = self.kv(points).chunk(2, dim=-1)
        mixed = attend(self.queries.expand(x.shape[0], -1, -1), key, value, self.heads)
        out: Tensor = self.proj(mixed).transpose(1, 2)
        return out
