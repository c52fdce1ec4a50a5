"""The text tower: prompts to the embeddings that the towers of the sensors were bound to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.encoders.languagebind.sizes import TextSizes
from advcal_edge.encoders.languagebind.transformer import Layer, Layers

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BATCH = 64


class TextEmbeddings(nn.Module):
    """Ids (n, tokens) to vectors (n, tokens, width), each with its place added."""

    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(sizes.vocabulary, sizes.transformer.width)
        self.position_embedding = nn.Embedding(sizes.context, sizes.transformer.width)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]
        return out


class TextTransformer(nn.Module):
    """Ids (n, tokens) to the vector (n, width) of the first end token, which sees all before it and nothing behind."""

    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        transformer = sizes.transformer
        self.embeddings = TextEmbeddings(sizes)
        self.encoder = Layers([Layer(transformer, causal=True) for _ in range(transformer.depth)])
        self.final_layer_norm = nn.LayerNorm(transformer.width, eps=transformer.norm_eps)

    def forward(self, ids: Tensor) -> Tensor:
        tokens = self.final_layer_norm(self.encoder(self.embeddings(ids)))
        end: Tensor = tokens[torch.arange(len(ids)), ids.argmax(dim=1)]  # the end has the highest id
        return end


class TextTrunk(nn.Module):
    """Ids (n, tokens) to an embedding (n, d), not yet of unit length."""

    def __init__(self, sizes: TextSizes, embedding_dim: int) -> None:
        super().__init__()
        self.text_model = TextTransformer(sizes)
        self.text_projection = nn.Linear(sizes.transformer.width, embedding_dim, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.text_projection(self.text_model(ids))
        return out


@dataclass(frozen=True, slots=True, eq=False)
class LanguagebindText:
    """Tokenizer and text tower of one folder; implements `TextTower`."""

    tokenizer: Tokenizer
    trunk: TextTrunk
    temperature: float
    source: str

    def embed(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Unit-norm embeddings (n, d); prompts are cut to the tower's context."""
        found = [self._embed(list(prompts[start : start + BATCH])) for start in range(0, len(prompts), BATCH)]
        width = self.trunk.text_projection.out_features
        return np.concatenate(found) if found else np.zeros((0, width), np.float32)

    def _embed(self, prompts: list[str]) -> NDArray[np.float32]:
        ids = torch.tensor([encoding.ids for encoding in self.tokenizer.encode_batch(prompts)])
        with torch.no_grad():
            embedding: NDArray[np.float32] = F.normalize(self.trunk(ids), dim=-1).numpy()
        return embedding
