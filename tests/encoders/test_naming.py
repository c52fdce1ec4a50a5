"""Names of tensors: one prefix is left out where it alone makes them match, and the published models are recognised."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, strategies as st

from advcal_edge.encoders.checkpoint import digest, read_checkpoint, read_tensors
from advcal_edge.encoders.imagebind import Imagebind
from advcal_edge.encoders.naming import match_names
from advcal_edge.encoders.unibind import Unibind
from advcal_edge.errors import InputError

PARTS = ("module.", "model.", "_orig_mod.", "base_model.model.", "visual_encoder.")
PATH = Path("x.pth")
NAMES = st.lists(st.from_regex(r"block\.[a-z]{1,5}", fullmatch=True), min_size=1, max_size=5, unique=True)
CHAINS = st.lists(st.sampled_from(PARTS), max_size=4).map("".join)


def of_block(name: str) -> bool:
    return name.startswith("block.")


@given(names=NAMES, prefix=CHAINS, others=st.lists(st.from_regex(r"[a-z]{1,5}\.head", fullmatch=True), max_size=3))
def test_a_chain_of_prefixes_is_found(names: list[str], prefix: str, others: list[str]) -> None:
    stored = [prefix + name for name in names] + [prefix + name for name in others]
    assert match_names(stored, of_block, PATH) == (prefix, sorted(names))


@given(names=NAMES, one=CHAINS, other=CHAINS)
def test_tensors_that_are_there_twice_are_not_guessed(names: list[str], one: str, other: str) -> None:
    if not (one and other) or one == other:
        return
    with pytest.raises(InputError, match="holds the tensors of this encoder 2 times") as caught:
        match_names([prefix + name for prefix in (one, other) for name in names], of_block, PATH)
    assert one in caught.value.message
    assert other in caught.value.message
    assert match_names([*names, *(one + name for name in names)], of_block, PATH) == ("", sorted(names))


@pytest.mark.parametrize("prefix", ["ema.", "modules.", "my.module.", "model"])
def test_another_prefix_is_not_left_out(prefix: str) -> None:
    with pytest.raises(InputError, match="none of the tensors this encoder is made of; found"):
        match_names([f"{prefix}block.a"], of_block, PATH)


def test_a_prefix_is_said_and_changes_no_fingerprint(tmp_path: Path) -> None:
    tensors = {"block.a": torch.ones(2), "block.b": torch.zeros(3, dtype=torch.int64)}
    torch.save(tensors, tmp_path / "plain.pth")
    torch.save({"state_dict": {f"module._orig_mod.{n}": t for n, t in tensors.items()}}, tmp_path / "run.pth")
    found = read_checkpoint(tmp_path / "run.pth", of_block)
    assert found.notes == ("`run.pth` names its tensors with `module._orig_mod.` in front, which was left out",)
    assert found.metadata == {"notes": list(found.notes)}
    assert digest(found.tensors) == digest(read_tensors(tmp_path / "plain.pth", of_block))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_imagebind_and_unibind_are_told_apart(prefix: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({f"{prefix}modality_trunks.vision.blocks.0.norm_1.weight": torch.ones(2)}, path)
    with pytest.raises(InputError, match="its names are those of imagebind") as caught:
        Unibind.load("image", path)
    assert "`--encoder imagebind`" in str(caught.value.hint)
    torch.save({f"{prefix}bind.modality_trunks.vision.blocks.0.norm_1.weight": torch.ones(2)}, path)
    with pytest.raises(InputError, match="its names are those of unibind"):
        Imagebind.load("image", path)
