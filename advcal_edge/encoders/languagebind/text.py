"""The text tower: CLIP's byte-pair tokenizer, and embeddings of prompts, to which the sensors' towers were bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.encoders.languagebind.configuration import TextSizes
from advcal_edge.encoders.languagebind.trunk import Layer, Layers
from advcal_edge.errors import DependencyError, InputError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BATCH = 64
START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""Contractions, words, single digits, and runs of other characters except spaces: CLIP's units before merging."""


class TextEmbeddings(nn.Module):
    """Ids (n, tokens) to vectors (n, tokens, width), with position embeddings added."""

    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(sizes.vocabulary, sizes.transformer.width)
        self.position_embedding = nn.Embedding(sizes.context, sizes.transformer.width)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]
        return out


class TextTransformer(nn.Module):
    """Ids (n, tokens) to the vector (n, width) of the first end token, which attends to all tokens before it."""

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
    """Ids (n, tokens) to an embedding (n, d), not normalised."""

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
    notes: tuple[str, ...] = ()

    def embed(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Unit-norm embeddings (n, d); prompts are cut to the tower's context."""
        parts = [self._embed(list(prompts[start : start + BATCH])) for start in range(0, len(prompts), BATCH)]
        width = self.trunk.text_projection.out_features
        return np.concatenate(parts) if parts else np.zeros((0, width), np.float32)

    def _embed(self, prompts: list[str]) -> NDArray[np.float32]:
        ids = torch.tensor([encoding.ids for encoding in self.tokenizer.encode_batch(prompts)])
        with torch.no_grad():
            embedding: NDArray[np.float32] = F.normalize(self.trunk(ids), dim=-1).numpy()
        return embedding


def read_tokenizer(folder: Path, sizes: TextSizes) -> Tokenizer:
    """Prompts to ids between start and end, cut to the tower's context and padded to the longest of a batch.

    Raises:
        DependencyError: tokenizers is not installed.
        InputError: the files are missing or malformed, or belong to another model.
    """
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError as error:
        raise DependencyError("tokenizers", extra="text", purpose="LanguageBind's text tower") from error
    vocabulary, merges, whole = folder / "vocab.json", folder / "merges.txt", folder / "tokenizer.json"
    if not (vocabulary.is_file() and merges.is_file()) and not whole.is_file():
        raise InputError(f"`{folder}` has no tokenizer; expected `vocab.json` with `merges.txt`, or `tokenizer.json`")
    try:
        pair = vocabulary.is_file() and merges.is_file()
        tokenizer = _build(vocabulary, merges) if pair else Tokenizer.from_file(str(whole))
    except Exception as error:  # the library raises bare exceptions
        raise InputError(f"the tokenizer in `{folder}` cannot be read: {error}") from error
    end = tokenizer.token_to_id(END)
    ids = tokenizer.get_vocab(with_added_tokens=True).values()
    if end is None or end != max(ids) or end >= sizes.vocabulary:
        raise InputError(
            f"the tokenizer in `{folder}` has ids up to {max(ids)} and `{END}` at {end}; expected that as the last,"
            f" below the tower's vocabulary of {sizes.vocabulary}"
        )
    tokenizer.enable_truncation(sizes.context)
    tokenizer.enable_padding(pad_id=end, pad_token=END)  # tokens after the first end are ignored
    return tokenizer


def _build(vocabulary: Path, merges: Path) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(
        models.BPE.from_file(str(vocabulary), str(merges), unk_token=END, end_of_word_suffix="</w>", fuse_unk=False)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([START, END])
    places = [(name, tokenizer.token_to_id(name)) for name in (START, END)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=places)
    return tokenizer
