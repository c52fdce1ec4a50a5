"""The networks: from a sensor's physical x, or from token numbers, to the embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from advcal_edge.encoders.checkpoint import load_exactly
from advcal_edge.encoders.imagebind.published import HUGE, TextConfig, TrunkConfig, of_tower, published_names
from advcal_edge.encoders.transformer import EPS, stack


class Trunk(nn.Module):
    """Physical x (n, *shape) to an embedding (n, d), not normalised."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        width = config.width
        per_channel = (-1, *(1 for _ in config.shape[1:]))
        self.config = config
        # the configuration's, not the checkpoint's: on the CPU even if the rest is built on the meta device
        self.register_buffer("mean", torch.tensor(config.mean, device="cpu").reshape(per_channel), persistent=False)
        self.register_buffer("std", torch.tensor(config.std, device="cpu").reshape(per_channel), persistent=False)
        self.stem = Windows(config) if len(config.kernel) == 1 else Patches(config)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.zeros(1, config.tokens, width))
        self.pre_norm = nn.LayerNorm(width, eps=EPS) if config.pre_norm else nn.Identity()
        self.blocks = stack(config.depth, width, config.heads, bias_kv=config.bias_kv)
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.head = nn.Linear(width, config.embedding_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.embed_normalised((x - self.mean) / self.std)

    def embed_normalised(self, x: Tensor) -> Tensor:
        """The input of upstream's model, (n, *shape), to its embedding (n, d) before any scaling."""
        patches = self.stem(x)
        tokens = torch.cat([self.class_token.expand(x.shape[0], -1, -1), patches], dim=1) + self.position
        tokens = self.blocks(self.pre_norm(tokens))
        # an index would be a gather, and the backward pass of a slice a scatter
        first, _ = tokens.split([1, self.config.tokens - 1], dim=1)
        embedding: Tensor = self.head(self.norm(first.flatten(1)))
        return embedding

    def load_upstream(self, checkpoint: Mapping[str, Tensor], where: str = "the checkpoint") -> None:
        """Assign this trunk's tensors, without copying, from a checkpoint that may hold other towers too.

        Raises:
            InputError: tensors of this trunk are missing, left over, or of another shape.
        """
        tower = self.config.tower
        own = {name: tensor for name, tensor in checkpoint.items() if of_tower(name, tower)}
        load_exactly(self, own, f"{where} for `{tower}`", published_names(self.state_dict(), tower))


def build(modality: str, config: TrunkConfig | None = None) -> Trunk:
    """The trunk of `modality` with random weights, of the published size unless `config` says otherwise."""
    return Trunk(config or HUGE[modality])


class Windows(nn.Module):
    """Windows of a series (n, c, length); each has as many values per channel as the kernel is long."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.count = config.grid[0]
        self.project = nn.Linear(config.shape[0] * config.kernel[0], config.width, bias=False)
        self.norm = nn.LayerNorm(config.width) if config.stem_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        windows = torch.unflatten(x, -1, (self.count, -1)).transpose(1, 2).flatten(2)
        out: Tensor = self.norm(self.project(windows))
        return out


class Patches(nn.Module):
    """Patches of a plane (n, c, h, w) or a clip (n, c, t, h, w), row by row; they overlap if the stride is short."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        convolution: type[nn.Conv2d | nn.Conv3d] = nn.Conv2d if len(config.kernel) == 2 else nn.Conv3d
        sizes: Any = {"kernel_size": config.kernel, "stride": config.stride}
        self.repeats = config.repeats
        self.project = convolution(config.shape[0], config.width, bias=False, **sizes)
        self.norm = nn.LayerNorm(config.width) if config.stem_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.repeats > 1:
            x = torch.cat([x.unsqueeze(2)] * self.repeats, dim=2)  # `stack` would give a gather in the backward pass
        out: Tensor = self.norm(self.project(x).flatten(2).transpose(1, 2))
        return out


class TextTrunk(nn.Module):
    """Token numbers (n, context) to an embedding (n, d), not normalised."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocabulary, config.width)
        self.position = nn.Parameter(torch.zeros(1, config.context, config.width))
        self.blocks = stack(config.depth, config.width, config.heads, causal=True)
        self.norm = nn.LayerNorm(config.width, eps=EPS)
        self.head = nn.Linear(config.width, config.embedding_dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        states = self.blocks(self.words(tokens) + self.position)
        ends = tokens.argmax(dim=-1)  # the end of text has the highest number
        embedding: Tensor = self.head(self.norm(states[torch.arange(len(tokens)), ends]))
        return embedding
