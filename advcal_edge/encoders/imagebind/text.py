"""The text tower of the user's checkpoint, which computes semantic centers from prompts, and CLIP's tokenizer.

The tokenizer cleans text, lower-cases it, splits it into words, and merges each word from its bytes. Upstream cleans
with ftfy. The part of it that matters for prompts is implemented here: HTML entities, curly quotes, ligatures,
full-width letters, control characters, NFC. Not implemented is the repair of wrongly decoded text ("schÃ¶n"), of
terminal escapes and of lone surrogates: such a prompt gets other tokens than upstream's.
"""

from __future__ import annotations

import gzip
import html
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.encoders.imagebind.published import (
    MAX_LOGIT_SCALE,
    TextConfig,
    logit_scale_name,
    of_tower,
    published_names,
)
from advcal_edge.errors import DependencyError, InputError

if TYPE_CHECKING:
    from advcal_edge.encoders.imagebind.trunk import TextTrunk

BATCH = 32
MERGES = Path(__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
START, END = "<|startoftext|>", "<|endoftext|>"
CONTEXT = 77
VOCABULARY = 49152  # merges, bytes and word-final bytes; plus start and end, minus two merges

# upstream ignores case, which turns the long s into an s
WORD = rf"{re.escape(START)}|{re.escape(END)}|'[sſ]|'t|'re|'ve|'m|'ll|'d|\p{{L}}+|\p{{N}}|[^\s\p{{L}}\p{{N}}]+"
LIGATURES = "ĲĳŉǱǲǳǄǅǆǇǈǉǊǋǌﬀﬁﬂﬃﬄﬆ"
WIDE = "".join(map(chr, (0x3000, *range(0xFF01, 0xFFF0))))
CONTROLS = (*range(0x09), 0x0B, *range(0x0E, 0x20), 0x7F, *range(0x206A, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFD))
QUOTES = {**dict.fromkeys(map(ord, "\u02bc\u2018\u2019\u201a\u201b"), "'"), **dict.fromkeys(range(0x201C, 0x2020), '"')}
WINDOWS = bytes(set(range(0x80, 0xA0)) - {0x81, 0x8D, 0x8F, 0x90, 0x9D})  # Latin-1's controls, letters in cp1252

PLAIN: dict[int, str] = {
    **{ord(letter): unicodedata.normalize("NFKC", letter) for letter in LIGATURES + WIDE},
    **QUOTES,
    **dict.fromkeys(CONTROLS, ""),
    **dict(zip(WINDOWS, WINDOWS.decode("cp1252").translate(QUOTES), strict=True)),
}
"""Characters that are replaced by plainer ones, as in ftfy."""


@dataclass(frozen=True, slots=True, eq=False)
class TextTower:
    """Prompts to unit vectors in the space of all of ImageBind's sensors."""

    temperature: float
    """Divisor of similarities: the inverse of the checkpoint's logit scale."""

    source: str
    trunk: TextTrunk
    tokens: Callable[[str], list[int]]
    notes: tuple[str, ...] = ()

    def embed(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Unit-norm embeddings (n, 1024) of prompts, which are cut after 75 tokens.

        Raises:
            InputError: a prompt without words.
        """
        import torch
        from torch.nn import functional as F

        for number, prompt in enumerate(prompts):
            if not prompt.strip():
                raise InputError(f"prompt {number} is empty; expected a sentence such as `a photo of a dog`")
        parts = [np.empty((0, self.trunk.head.out_features), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(prompts), BATCH):
                tokens = torch.tensor([self.tokens(prompt) for prompt in prompts[start : start + BATCH]])
                parts.append(F.normalize(self.trunk(tokens), dim=-1).numpy())
        return np.concatenate(parts)


def load_text(weights: Path, config: TextConfig | None = None) -> TextTower:
    """The text tower in the checkpoint `weights`; no other tower is read.

    Raises:
        InputError: the checkpoint cannot be read, or does not hold exactly this tower.
        DependencyError: torch or the package `tokenizers` is not installed.
    """
    if find_spec("torch") is None:
        raise DependencyError("torch", extra="calibrate", purpose="the text tower of imagebind")
    import torch

    from advcal_edge.encoders.checkpoint import digest, load_exactly, read_checkpoint
    from advcal_edge.encoders.imagebind.encoder import find_file
    from advcal_edge.encoders.imagebind.trunk import TextTrunk

    tokens = load_tokenizer()
    scale = logit_scale_name("text")
    checkpoint = read_checkpoint(find_file(weights), lambda name: of_tower(name, "text") or name == scale)
    tensors = checkpoint.tensors
    logarithm = tensors.pop(scale, None)
    if logarithm is None:
        raise InputError(f"`{weights}` has no `{scale}`; expected the logit scale of the text tower")
    with torch.device("meta"):
        trunk = TextTrunk(config or TextConfig())
    load_exactly(trunk, tensors, f"`{weights}` for `text`", published_names(trunk.state_dict(), "text"))
    temperature = 1 / min(float(logarithm.exp()), MAX_LOGIT_SCALE)
    source = f"text tower of ImageBind {digest(tensors)[:12]}"
    return TextTower(temperature, source, trunk.eval().requires_grad_(False), tokens, checkpoint.notes)


def clean(text: str) -> str:
    """Plain spelling, one space between words, lower case."""
    if "<" not in text:  # if there are tags, ftfy keeps entities
        text = html.unescape(html.unescape(text))
    text = unicodedata.normalize("NFC", text.translate(PLAIN))
    text = html.unescape(html.unescape(text))
    return re.sub(r"\s+", " ", text).strip().lower()


def load_tokenizer() -> Callable[[str], list[int]]:
    """From text to 77 token numbers: start, words, end, zeros; longer text is cut before its end.

    Raises:
        DependencyError: the package `tokenizers` is not installed.
    """
    try:
        from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    except ModuleNotFoundError as error:
        raise DependencyError("tokenizers", extra="text", purpose="making centers from prompts") from error

    vocabulary, merges = _table()
    tokenizer: Any = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.add_special_tokens([START, END])

    def tokens(text: str) -> list[int]:
        words = tokenizer.encode(clean(text)).ids[: CONTEXT - 2]
        filled = [vocabulary[START], *words, vocabulary[END]]
        return filled + [0] * (CONTEXT - len(filled))

    return tokens


def _table() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The number of every token, and the merges in order; the file's first line is its version."""
    lines = gzip.decompress(MERGES.read_bytes()).decode().split("\n")
    letters = _byte_letters()
    merges = [(left, right) for left, right in map(str.split, lines[1 : VOCABULARY - 2 * len(letters) + 255])]
    names = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges), START, END]
    return {name: number for number, name in enumerate(names)}, merges


def _byte_letters() -> list[str]:
    """A visible letter per byte: printable bytes are themselves, the others get letters from 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = len(set(range(256)) - set(printable))
    return [chr(code) for code in (*printable, *range(256, 256 + others))]
