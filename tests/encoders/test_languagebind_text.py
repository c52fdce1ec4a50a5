"""LanguageBind's text tower: prompts to unit vectors, with the tokenizer of the folder."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from languagebind_folder import random_tensors, save, write_folder

from advcal_edge.encoders.base import open_text_tower
from advcal_edge.encoders.languagebind import load_text
from advcal_edge.errors import ConfigError, InputError


def test_prompts_become_unit_vectors(tmp_path: Path) -> None:
    text = open_text_tower("languagebind", write_folder(tmp_path / "LB", "video"))
    z = text.embed(["the cat", "a dog's 2 tails", "the  CAT"])
    assert z.shape == (3, 20)
    assert z.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(z[0], z[2], atol=1e-6)  # case and doubled spaces do not count
    assert abs(z[0] - z[1]).max() > 1e-2
    assert text.temperature == pytest.approx(math.exp(-3))
    assert "`LB`" in text.source
    assert text.embed([]).shape == (0, 20)


def test_a_prompt_does_not_see_those_beside_it(tmp_path: Path) -> None:
    text = load_text(write_folder(tmp_path / "F", "image"))
    prompts = ["the cat " * count for count in range(70)]  # more than a batch, padded, and cut at the context
    together = text.embed(prompts)
    for index in (0, 1, 5, 69):
        np.testing.assert_allclose(text.embed([prompts[index]])[0], together[index], atol=1e-5)
    np.testing.assert_allclose(together[69], together[40], atol=1e-5)


def test_ids_are_bytes_merged_between_start_and_end(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "F", "image")
    ids = json.loads((folder / "vocab.json").read_text())
    tokens = ["<|startoftext|>", "the</w>", "cat</w>", "a", "t</w>", "4</w>", "2</w>", "'", "s</w>", "<|endoftext|>"]
    assert load_text(folder).tokenizer.encode("The cat at 42's").ids == [ids[token] for token in tokens]


def test_one_file_serves_as_well_as_two(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "F", "image")
    text = load_text(folder)
    text.tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.json").unlink()
    np.testing.assert_array_equal(load_text(folder).embed(["the cat"]), text.embed(["the cat"]))
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"the tokenizer in .* cannot be read"):
        load_text(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"has no tokenizer; expected `vocab.json` with `merges.txt`"):
        load_text(folder)


def test_the_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "F", "image")
    ids = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps({**ids, "<|endoftext|>": 5000}))
    with pytest.raises(InputError, match=r"endoftext\|>` at 5000; expected .* vocabulary of 600"):
        load_text(folder)


def test_weights_without_the_text_tower_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "F", "image")
    tensors = random_tensors(folder)
    del tensors["text_model.final_layer_norm.weight"]
    save(tensors, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"1 missing \(`text_model.final_layer_norm.weight`\)"):
        load_text(folder)
    with pytest.raises(ConfigError, match="brings no weights"):
        load_text(None)
