"""Adapters: start as the identity, leave the encoder alone, merge to the same function, survive the disk."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given, strategies as st
from mutations import mutated_tensors, outcome
from safetensors.torch import save
from small_encoder import DIM, Small, make_frames
from torch import Tensor, nn

from advcal_edge.calibrate.adapters import (
    ADAPTERS,
    AdaptedModule,
    Adapter,
    CleanInputs,
    attach_adapter,
    trainable,
)
from advcal_edge.calibrate.config import AdapterConfig, AdapterKind
from advcal_edge.calibrate.craft import frozen
from advcal_edge.calibrate.deploy import deploy_module
from advcal_edge.errors import BundleError, ConfigError
from advcal_edge.runtime.sensors import preprocess
from advcal_edge.spec import thermal

KINDS = (
    "identity",
    "head",
    "lora",
    "head+lora+norms",
    "stem-filter",
    "lora-xs+norms",
    "full",
    "stem-filter+full",
    "stem-filter+lora+lora-xs+norms+head",
)
X = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
CLEAN = CleanInputs(torch.from_numpy(preprocess(thermal(8), make_frames(60, seed=3)[0])), 0.02)


def trunk() -> nn.Module:
    return Small.load("thermal").module()


def stirred(config: AdapterConfig) -> AdaptedModule:
    """An adapter as if training had moved every number."""
    model = attach_adapter(trunk(), config, DIM, 0, CLEAN)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in trainable(model).values():
            value.add_(0.3 * torch.randn(value.shape, generator=generator))
    return model


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "stem-filter" not in kind])
@pytest.mark.parametrize("head_rank", [0, 2])
def test_starts_as_the_identity(kind: str, head_rank: int) -> None:
    model = attach_adapter(trunk(), AdapterConfig(kind=kind, head_rank=head_rank), DIM, 0, CLEAN)
    torch.testing.assert_close(model(X), AdaptedModule(trunk())(X))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head_rank", [0, 2])
def test_merged_computes_what_unmerged_does(kind: str, head_rank: int) -> None:
    config = AdapterConfig(kind=kind, head_rank=head_rank)
    model = stirred(config)
    merged = deploy_module(trunk(), Adapter.of(model, config, DIM))
    torch.testing.assert_close(merged(X), model(X))
    assert not trainable(merged)
    assert not any("parametrizations" in name for name in merged.state_dict())
    torch.testing.assert_close(merged(X).norm(dim=-1), torch.ones(5))


def test_the_encoder_keeps_its_weights() -> None:
    """Every original number is still there, bit for bit, under the parametrizations."""
    model = stirred(AdapterConfig(kind="head+lora+norms+stem-filter"))
    inside = {name.replace(".parametrizations", "").replace(".original", ""): value
              for name, value in model.trunk.named_parameters() if not value.requires_grad}  # fmt: skip
    untouched = dict(trunk().named_parameters())
    assert inside.keys() == untouched.keys()
    assert all(torch.equal(inside[name], untouched[name]) for name in untouched)


def test_every_matrix_is_reached() -> None:
    moved = {name.split(".parametrizations")[0].removeprefix("trunk.") + "." + name.split(".")[-3]
             for name in trainable(attach_adapter(trunk(), AdapterConfig("lora+norms"), DIM, seed=0))}  # fmt: skip
    assert moved == {"stem.weight", "stem.bias", "norm.weight", "norm.bias", "attention.in_proj_weight",
                     "attention.out_proj.weight", "head.weight"}  # fmt: skip
    plain = AdapterConfig("lora", stem=False)
    assert not any("norm" in name or "stem" in name for name in trainable(attach_adapter(trunk(), plain, DIM, seed=0)))


def test_trainable_fraction() -> None:
    encoder = sum(value.numel() for value in trunk().parameters())
    config = AdapterConfig(kind="head", head_rank=0)
    adapter = Adapter.of(attach_adapter(trunk(), config, DIM, seed=0), config, DIM)
    assert adapter.parameters == DIM * DIM + DIM
    assert adapter.trainable_fraction == (DIM * DIM + DIM) / encoder
    config = AdapterConfig(kind="head", head_rank=2)
    assert Adapter.of(attach_adapter(trunk(), config, DIM, seed=0), config, DIM).parameters == 2 * 2 * DIM
    nothing = AdapterConfig(kind="identity")
    assert Adapter.of(attach_adapter(trunk(), nothing, DIM, seed=0), nothing, DIM).trainable_fraction == 0


@pytest.mark.parametrize("kind", KINDS)
def test_on_disk_and_back(kind: str, tmp_path: Path) -> None:
    config = AdapterConfig(kind=kind, head_rank=2)
    adapter = Adapter.of(stirred(config), config, DIM)
    (tmp_path / "a").write_bytes(adapter.to_bytes())
    loaded = Adapter.load(tmp_path / "a")
    assert loaded.config == config
    assert loaded.trainable_fraction == adapter.trainable_fraction
    assert torch.equal(deploy_module(trunk(), loaded)(X), deploy_module(trunk(), adapter)(X))


@pytest.mark.parametrize("content", [b"", b"junk" * 20, save({"a": torch.zeros(1)}), save({}, {"adapter": "[]"})])
def test_damaged_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(BundleError, match="holds no adapter"):
        Adapter.load(tmp_path / "a")


def test_numbers_that_do_not_fit_are_refused() -> None:
    adapter = Adapter(AdapterConfig(kind="head"), {"head.weight": torch.zeros(2, 2)}, DIM, 4, 0, 100)
    with pytest.raises(BundleError, match=r"does not fit the encoder at `head\.bias`"):
        deploy_module(trunk(), adapter)


def test_frozen_lets_only_the_input_have_a_gradient() -> None:
    model = stirred(AdapterConfig(kind="head+lora+norms+stem-filter"))
    names = set(trainable(model))
    with frozen(trainable(model).values()):
        assert not trainable(model)
        x = X.clone().requires_grad_()
        model(x).sum().backward()
        assert isinstance(x.grad, Tensor)
    assert set(trainable(model)) == names
    assert all(value.grad is None for value in model.parameters())


def test_the_settings_know_every_part() -> None:
    """They keep names of their own so that reading a configuration loads no torch."""
    assert set(get_args(AdapterKind)) == set(ADAPTERS)


@pytest.mark.parametrize("kind", ["", "hed", "head+head", "identity+lora", "head+"])
def test_impossible_kinds(kind: str) -> None:
    with pytest.raises(ConfigError):
        AdapterConfig(kind=kind)


def test_a_width_beyond_the_numbers_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    state = {"head.weight": torch.zeros(DIM, DIM), "head.bias": torch.zeros(DIM), "none": torch.zeros(2**40, 0)}
    (tmp_path / "a").write_bytes(Adapter(AdapterConfig(kind="head"), state, 2**30, 4, 0, 100).to_bytes())
    with pytest.raises(BundleError, match="larger than any of its tensors"):
        Adapter.load(tmp_path / "a")


@given(data=st.data())
def test_any_damage_is_said_in_words(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "adapter.safetensors"
    whole = Adapter.of(attach_adapter(trunk(), AdapterConfig(), DIM, 0, CLEAN), AdapterConfig(), DIM).to_bytes()
    path.write_bytes(data.draw(mutated_tensors(whole)))
    outcome(Adapter.load, path, BundleError)


@pytest.mark.parametrize(
    ("kind", "empty", "found"),
    [
        ("lora", nn.Sequential(nn.LayerNorm(4), nn.ReLU()), "found a Sequential, of 1 LayerNorm, 1 ReLU"),
        ("lora-xs", nn.Embedding(3, 4), "found a Embedding, of 1 Embedding"),
        ("stem-filter", nn.ReLU(), "expected a convolution or a linear map"),
        ("norms", nn.Linear(4, 4), "expected normalisation layers"),
        ("norms", nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4, elementwise_affine=False)), "with a scale"),
    ],
)
def test_what_finds_nothing_to_change_says_what_there_is(kind: str, empty: nn.Module, found: str) -> None:
    with pytest.raises(ConfigError, match=f"`--adapter {kind}` finds nothing to change") as caught:
        attach_adapter(empty, AdapterConfig(kind), 4, seed=0)
    assert found in caught.value.message


def test_cores_are_in_the_basis_of_the_weight() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(9, 7)
    weight = linear.weight.detach().clone()
    model = attach_adapter(linear, AdapterConfig("lora-xs", core_rank=3, stem_rank=3), 7, 0, CLEAN)
    (core,) = trainable(model).values()
    with torch.no_grad():
        core.copy_(torch.eye(3))
    u, sigma, v = torch.linalg.svd(weight, full_matrices=False)
    expected = weight + 0.5 * sigma[:3].mean() * u[:, :3] @ v[:3]
    torch.testing.assert_close(linear.weight, expected)


def test_trained_and_estimated_numbers_are_counted_apart() -> None:
    config = AdapterConfig("stem-filter+lora-xs+norms", core_rank=2, stem_rank=3)
    adapter = Adapter.of(attach_adapter(trunk(), config, DIM, 0, CLEAN), config, DIM)
    matrices = 3 * 3 + 3 * 2 * 2  # the stem; attention twice, and the head
    assert adapter.parameters == matrices + 8 + 8 + 8  # scale, shift, and the bias of the stem
    assert adapter.estimated == 8 * 16 + 8
    assert adapter.encoder_parameters == sum(value.numel() for value in trunk().parameters())
