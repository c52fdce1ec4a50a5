"""The network of the text tower: a causal transformer that is read where the text ends (arXiv:2103.00020, 2.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advcal_edge.encoders.imagebind.sizes import TextConfig
from advcal_edge.encoders.transformer import EPS, stack


class TextTrunk(nn.Module):
    """Token numbers (n, context) to an embedding (n, d), not yet of unit length."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocabulary, config.width)
        self.position = nn.Parameter(torch.zeros(1, config.context, config.width))
        self.blocks = stack(config.depth, config.width, config.heads, causal=True)
        self.norm = nn.LayerNorm(config.width, eps=EPS)
        self.head = nn.Linear(config.width, config.embedding_dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        states = self.blocks(self.words(tokens) + self.position)
        ends = tokens.argmax(dim=-1)  # the end of text has the highest number there is
        embedding: Tensor = self.head(self.norm(states[torch.arange(len(tokens)), ends]))
        return embedding
