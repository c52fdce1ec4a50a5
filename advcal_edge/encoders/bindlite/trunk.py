"""The network: a vision transformer with ImageBind's structure (arXiv:2305.05665, section 3), a thousandth of its size.

Every operation is a plain matrix product, normalisation or softmax, so that the graph and its backward pass export to
ONNX with a dynamic batch and neither gathers nor scatters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class TrunkConfig:
    """Sizes of one trunk; ImageBind's thermal trunk has `stem_norm` and `bias_kv`, its image trunk has `pre_norm`."""

    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    stem_norm: bool
    pre_norm: bool
    bias_kv: bool
    size: int = 64
    kernel: int = 16
    stride: int = 16  # overlapping patches (stride 12): 70 % slower, no more accurate in a short trial
    width: int = 96
    depth: int = 4
    heads: int = 4
    embedding_dim: int = 384

    @property
    def tokens(self) -> int:
        """Patches and the class token."""
        return ((self.size - self.kernel) // self.stride + 1) ** 2 + 1


IMAGE = TrunkConfig(3, (0.286, 0.286, 0.286), (0.353, 0.353, 0.353), stem_norm=False, pre_norm=True, bias_kv=False)
"""Mean and deviation of Fashion-MNIST's training pixels."""

THERMAL = TrunkConfig(1, (0.45,), (0.25,), stem_norm=True, pre_norm=False, bias_kv=True)


class Attention(nn.Module):
    """Self-attention over (n, t, width); with `bias_kv` one learned key and value are seen by every query."""

    def __init__(self, width: int, heads: int, bias_kv: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.bias_k = nn.Parameter(0.02 * torch.randn(1, 1, width)) if bias_kv else None
        self.bias_v = nn.Parameter(0.02 * torch.randn(1, 1, width)) if bias_kv else None

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        if self.bias_k is not None and self.bias_v is not None:
            key = torch.cat([key, self.bias_k.expand(x.shape[0], -1, -1)], dim=1)
            value = torch.cat([value, self.bias_v.expand(x.shape[0], -1, -1)], dim=1)
        mixed = F.scaled_dot_product_attention(self._split(query), self._split(key), self._split(value))
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        """(n, t, width) to (n, heads, t, width / heads)."""
        return torch.unflatten(x, -1, (self.heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """Pre-norm transformer block; the MLP is four times as wide, with the exact (erf) GELU."""

    def __init__(self, width: int, heads: int, bias_kv: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads, bias_kv)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return out


class Trunk(nn.Module):
    """Physical x (n, c, h, w) in [0, 1] to an embedding (n, 384), not yet of unit length."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        width = config.width
        self.config = config
        # from the configuration, not the weight file: that is float16
        self.register_buffer("mean", torch.tensor(config.mean).reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).reshape(1, -1, 1, 1), persistent=False)
        # with a LayerNorm behind it a bias of the convolution would be redundant; ImageBind has none either way
        self.stem = nn.Conv2d(config.channels, width, config.kernel, config.stride, bias=False)
        self.stem_norm = nn.LayerNorm(width, eps=1e-6) if config.stem_norm else nn.Identity()
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(0.2 * torch.randn(1, config.tokens, width))
        self.pre_norm = nn.LayerNorm(width, eps=1e-6) if config.pre_norm else nn.Identity()
        self.blocks = nn.Sequential(*(Block(width, config.heads, config.bias_kv) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, config.embedding_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / self.std
        patches = self.stem_norm(self.stem(x).flatten(2).transpose(1, 2))
        tokens = torch.cat([self.class_token.expand(x.shape[0], -1, -1), patches], dim=1) + self.position
        tokens = self.blocks(self.pre_norm(tokens))
        embedding: Tensor = self.head(self.norm(tokens[:, 0]))
        return embedding
