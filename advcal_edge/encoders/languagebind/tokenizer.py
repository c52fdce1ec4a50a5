"""CLIP's byte-pair tokenizer, built from the files of a published folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from advcal_edge.encoders.languagebind.sizes import TextSizes
from advcal_edge.errors import DependencyError, InputError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""Contractions, words, single digits, and runs of anything else that is no space: CLIP's units before merging."""


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
    tokenizer.enable_padding(pad_id=end, pad_token=END)  # what follows the first end is never looked at
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
