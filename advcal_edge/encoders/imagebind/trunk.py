"""One sensor's network, from physical x to the embedding."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from advcal_edge.encoders.checkpoint import load_exactly
from advcal_edge.encoders.imagebind.keys import of_tower, published_names
from advcal_edge.encoders.imagebind.sizes import HUGE, TrunkConfig
from advcal_edge.encoders.imagebind.stems import Patches, Windows
from advcal_edge.encoders.transformer import EPS, stack


class Trunk(nn.Module):
    """Physical x (n, *shape) to an embedding (n, d), not yet of unit length."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        width = config.width
        per_channel = (-1, *(1 for _ in config.shape[1:]))
        self.config = config
        # the configuration's, not the checkpoint's: on the CPU even where the rest is built on the meta device
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
        """What upstream's model takes, (n, *shape), to its embedding (n, d) before it is scaled to any length."""
        patches = self.stem(x)
        tokens = torch.cat([self.class_token.expand(x.shape[0], -1, -1), patches], dim=1) + self.position
        tokens = self.blocks(self.pre_norm(tokens))
        # an index would be a gather, and the backward pass of a slice a scatter
        first, _ = tokens.split([1, self.config.tokens - 1], dim=1)
        embedding: Tensor = self.head(self.norm(first.flatten(1)))
        return embedding

    def load_upstream(self, checkpoint: Mapping[str, Tensor], where: str = "the checkpoint") -> None:
        """Take this trunk's tensors, without copying them, out of a checkpoint that may hold other towers too.

        Raises:
            InputError: tensors of this trunk are missing, left over, or of another shape.
        """
        tower = self.config.tower
        own = {name: tensor for name, tensor in checkpoint.items() if of_tower(name, tower)}
        load_exactly(self, own, f"{where} for `{tower}`", published_names(self.state_dict(), tower))


def build(modality: str, config: TrunkConfig | None = None) -> Trunk:
    """The trunk of `modality` with random weights, of the published size unless `config` says otherwise."""
    return Trunk(config or HUGE[modality])
