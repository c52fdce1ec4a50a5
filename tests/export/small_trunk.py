"""A trunk with every operator the real ones have, small enough to export in seconds."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.spec import TensorSpec

SPEC = TensorSpec("x", (1, 40, 40), "float32", "chw", (0.0, 1.0), "windowed temperature")
EMBEDDING_DIM = 16


class Block(nn.Module):
    """Pre-norm attention with learned extra key and value, then a GELU MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, add_bias_kv=True, batch_first=True)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class SmallTrunk(nn.Module):
    """x (n, 1, 40, 40) in [0, 1] to unit-norm z (n, 16)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 16, 12, bias=False)
        self.class_token = nn.Parameter(0.1 * torch.randn(1, 1, width))
        self.position = nn.Parameter(0.1 * torch.randn(1, 10, width))
        self.pre_norm = nn.LayerNorm(width)
        self.block = Block(width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, EMBEDDING_DIM, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.stem((x - 0.45) / 0.25).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(x.shape[0], -1, -1), patches], dim=1) + self.position
        tokens = self.block(self.pre_norm(tokens))
        return F.normalize(self.head(self.norm(tokens[:, 0])), dim=-1)


def build_trunk() -> SmallTrunk:
    """Always the same weights; norms have weights of their own, as a merged adapter leaves them."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        trunk = SmallTrunk()
        for module in trunk.modules():
            if isinstance(module, nn.LayerNorm):
                nn.init.uniform_(module.weight, 0.5, 1.5)
        for name, parameter in trunk.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(parameter, std=0.1)  # a bias of zeros would be optimised away
    return trunk.eval()


class Unexportable(nn.Module):
    """Branches on the data, which no tracer can follow."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)[:, :EMBEDDING_DIM]
        return F.normalize(flat if float(flat.sum()) > 0 else -flat, dim=-1)


class FixedBatch(nn.Module):
    """Works for two samples only."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x.reshape(2, -1)[:, :EMBEDDING_DIM], dim=-1)
