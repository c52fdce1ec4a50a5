"""The transformer of both towers: CLIP's (arXiv:2103.00020), and LanguageBind's attention over time.

Attributes are named as the tensors of the published checkpoints, so that an error names what the file holds. Every
operation is a plain matrix product, normalisation or softmax: graph and backward pass neither gather nor scatter.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.encoders.languagebind.sizes import Transformer

QUICK = 1.702  # x sigmoid(1.702 x) is the approximation of GELU that CLIP's first models were trained with


class Attention(nn.Module):
    """Self-attention over (n, tokens, width); `causal` hides from each token those behind it."""

    def __init__(self, sizes: Transformer, *, causal: bool = False) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.causal = causal
        self.q_proj = nn.Linear(sizes.width, sizes.width)
        self.k_proj = nn.Linear(sizes.width, sizes.width)
        self.v_proj = nn.Linear(sizes.width, sizes.width)
        self.out_proj = nn.Linear(sizes.width, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self._split(self.q_proj(x)), self._split(self.k_proj(x)), self._split(self.v_proj(x))
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        """(n, tokens, width) to (n, heads, tokens, width / heads)."""
        return torch.unflatten(x, -1, (self.heads, -1)).transpose(1, 2)


class Perceptron(nn.Module):
    """Two linear maps with a GELU between them."""

    def __init__(self, sizes: Transformer) -> None:
        super().__init__()
        self.quick = sizes.activation == "quick_gelu"
        self.fc1 = nn.Linear(sizes.width, sizes.hidden)
        self.fc2 = nn.Linear(sizes.hidden, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        out: Tensor = self.fc2(x * torch.sigmoid(QUICK * x) if self.quick else F.gelu(x))
        return out


class Layer(nn.Module):
    """Pre-norm attention within a frame, then a perceptron."""

    def __init__(self, sizes: Transformer, *, causal: bool = False) -> None:
        super().__init__()
        self.self_attn = Attention(sizes, causal=causal)
        self.layer_norm1 = nn.LayerNorm(sizes.width, eps=sizes.norm_eps)
        self.mlp = Perceptron(sizes)
        self.layer_norm2 = nn.LayerNorm(sizes.width, eps=sizes.norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out


class TimedLayer(nn.Module):
    """`Layer` behind attention over time: each patch sees the same patch of the other frames of its clip."""

    def __init__(self, sizes: Transformer, frames: int, *, perceptron: bool) -> None:
        super().__init__()
        self.frames = frames
        self.temporal_embedding = nn.Parameter(torch.zeros(1, frames, sizes.width))
        self.temporal_attn = Attention(sizes)
        self.temporal_layer_norm1 = nn.LayerNorm(sizes.width, eps=sizes.norm_eps)
        self.temporal_mlp = Perceptron(sizes) if perceptron else None
        self.temporal_layer_norm2 = nn.LayerNorm(sizes.width, eps=sizes.norm_eps) if perceptron else None
        self.self_attn = Attention(sizes)
        self.layer_norm1 = nn.LayerNorm(sizes.width, eps=sizes.norm_eps)
        self.mlp = Perceptron(sizes)
        self.layer_norm2 = nn.LayerNorm(sizes.width, eps=sizes.norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        x = self._swap(self._across_time(self._swap(x, self.frames)), x.shape[1])
        x = x + self.self_attn(self.layer_norm1(x))
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out

    def _across_time(self, x: Tensor) -> Tensor:
        """(clips * tokens, frames, width) to the same."""
        if self.frames > 1:
            x = x + self.temporal_embedding
        x = x + self.temporal_attn(self.temporal_layer_norm1(x))
        if self.temporal_mlp is not None and self.temporal_layer_norm2 is not None:
            x = x + self.temporal_mlp(self.temporal_layer_norm2(x))
        return x

    def _swap(self, x: Tensor, inner: int) -> Tensor:
        """(clips * inner, outer, width) to (clips * outer, inner, width)."""
        return torch.unflatten(x, 0, (-1, inner)).transpose(1, 2).flatten(0, 1)


class Layers(nn.Module):
    """Layers one after the other."""

    def __init__(self, layers: list[Layer] | list[TimedLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x
