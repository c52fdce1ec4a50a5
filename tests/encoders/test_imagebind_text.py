"""ImageBind's text tower: upstream's tokens, and upstream's embeddings of them."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import ftfy
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings, strategies as st
from random_imagebind import PUBLISHED, SMALL, random_model
from torch.nn import functional as F
from upstream import imagebind, imagebind_wheel

from advcal_edge.encoders.base import TextTower
from advcal_edge.encoders.imagebind import load_text
from advcal_edge.encoders.imagebind.published import TextConfig
from advcal_edge.encoders.imagebind.text import MERGES, load_tokenizer
from advcal_edge.errors import InputError

PROMPTS = [
    "a photo of a dog",
    "An infrared photo of a person's bicycle, at night!",
    "the sound of rain — and “thunder”",
    "ein Zug fährt über die Brücke; 3.5 km",
    "word " * 100,
]
SPECIMENS = [
    "it's we've I'LL you'd they're can't I'm",
    "naïve café Ångström e\u0301tude",
    "Ελλάδα ΣΟΦΟΣ Москва 東京 한국어 ｆｕｌｌ　ｗｉｄｔｈ ﬁne ﬂow",
    "1234 ½ ² ① ٣",
    "a<b &amp;amp; c &lt;d&gt; &ldquo;e&rdquo;",
    "zero\u200bwidth no\u00a0break tab\tline\r\nend\x00\x1b\x7f",
    "emoji 👩‍🚀🇩🇪 😀!!! #tag @name",
    "<|startoftext|> inside <|endoftext|> text",
    "wait\u2026 \u201clow\u201e \u2018quotes\u201a \u2013 \u2014 \u2022 \u2032 \u203d",
    "",
]
words = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=12)
foreign = st.text(st.characters(min_codepoint=0x250, max_codepoint=0x1FFF, categories=["L", "N"]), max_size=8)
punctuation = st.text(st.characters(min_codepoint=0x2010, max_codepoint=0x205E, categories=["P"]), max_size=3)
blanks = st.sampled_from([" ", "  ", "\n", "\t", "\u00a0", "\u2003", "\u3000"])
sentences = st.lists(st.one_of(words, foreign, punctuation, blanks), max_size=40).map("".join)


def upstream_tokens(text: str) -> list[int]:
    tokens: list[int] = THEIRS(text).tolist()
    return tokens


THEIRS = imagebind("multimodal_preprocessors").SimpleTokenizer(str(MERGES))
OURS = load_tokenizer()


def test_the_merges_are_those_of_upstream() -> None:
    with zipfile.ZipFile(imagebind_wheel()) as wheel:
        theirs = wheel.read("imagebind/bpe/bpe_simple_vocab_16e6.txt.gz")
    assert gzip.decompress(MERGES.read_bytes()) == gzip.decompress(theirs)
    assert "MIT License" in MERGES.with_name("NOTICE").read_text()


@pytest.mark.parametrize("text", [*PROMPTS, *SPECIMENS])
def test_specimens_get_upstreams_tokens(text: str) -> None:
    assert OURS(text) == upstream_tokens(text)


@settings(max_examples=500, deadline=None)
@given(sentences)
def test_ordinary_text_gets_upstreams_tokens(text: str) -> None:
    assume(not seems_decoded_wrongly(text))
    assert OURS(text) == upstream_tokens(text)


def seems_decoded_wrongly(text: str) -> bool:
    """Would upstream repair it? A Greek letter before two quotes is enough; we take text as it is."""
    return bool(ftfy.fix_text(text) != ftfy.fix_text(text, fix_encoding=False))


def test_text_that_was_decoded_wrongly_is_not_repaired() -> None:
    assert all(map(seems_decoded_wrongly, ["schÃ¶n", "α‘‰"]))
    assert upstream_tokens("schÃ¶n") == upstream_tokens("schön") == OURS("schön") != OURS("schÃ¶n")


def compare(sizes: dict[str, int], dim: int, path: Path, config: TextConfig) -> float:
    upstream = random_model({"text": sizes}, dim)
    state = upstream.state_dict()
    state["modality_postprocessors.text.1.log_logit_scale"].fill_(3.0)
    torch.save(state, path)
    tower: TextTower = load_text(path, config)
    assert tower.temperature == pytest.approx(np.exp(-3.0))
    with torch.inference_mode():
        tokens = torch.tensor([upstream_tokens(prompt) for prompt in PROMPTS])
        theirs = F.normalize(upstream({"text": tokens})["text"], dim=-1).numpy()
    ours = tower.embed(PROMPTS)
    assert ours.dtype == np.float32
    assert ours.shape == (len(PROMPTS), dim)
    assert np.linalg.norm(ours, axis=1) == pytest.approx(1, abs=1e-5)
    assert ours[0] @ ours[1] < 0.99
    return float(abs(ours - theirs).max())


def test_a_small_tower_embeds_as_upstream_does(tmp_path: Path) -> None:
    config = TextConfig(width=32, depth=2, heads=4, embedding_dim=24)
    assert compare(SMALL, 24, tmp_path / "small.pth", config) < 1e-6


@pytest.mark.slow
def test_the_tower_of_published_size_embeds_as_upstream_does(tmp_path: Path) -> None:
    difference = compare(PUBLISHED["text"], 1024, tmp_path / "imagebind_huge.pth", TextConfig())
    print(f"text: largest difference {difference:.1e}")
    assert difference < 1e-6


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "small.pth"
    torch.save(random_model({"text": SMALL}, 24).state_dict(), path)
    return path


CONFIG = TextConfig(width=32, depth=2, heads=4, embedding_dim=24)


def test_what_follows_the_end_of_a_text_does_not_matter(small: Path) -> None:
    tower = load_text(small, CONFIG)
    many = tower.embed([f"a photo of number {i}" for i in range(70)])
    alone = tower.embed(["a photo of number 69"])
    assert many.shape == (70, 24)
    assert abs(many[69] - alone[0]).max() < 1e-6
    assert tower.embed([]).shape == (0, 24)


def test_an_empty_prompt_is_refused(small: Path) -> None:
    with pytest.raises(InputError, match="prompt 1 is empty"):
        load_text(small, CONFIG).embed(["a dog", "  "])


def test_the_source_names_the_weights(small: Path, tmp_path: Path) -> None:
    torch.save(random_model({"text": SMALL}, 24, seed=1).state_dict(), tmp_path / "other.pth")
    assert load_text(small, CONFIG).source != load_text(tmp_path / "other.pth", CONFIG).source


def test_a_checkpoint_without_text_is_refused(small: Path, tmp_path: Path) -> None:
    state = torch.load(small, weights_only=True)
    torch.save({name: tensor for name, tensor in state.items() if ".text." not in name}, tmp_path / "mute.pth")
    with pytest.raises(InputError, match="none of the tensors"):
        load_text(tmp_path / "mute.pth", CONFIG)
    with pytest.raises(InputError, match=r"for `text` .* of another shape"):
        load_text(small)
