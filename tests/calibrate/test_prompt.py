"""Learned tokens: they reach the output, leave what follows alone, survive the disk, and are refused where none fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from advcal_edge.calibrate.adapters import AdaptedModule, Adapter, CleanInputs, attach_adapter, trainable
from advcal_edge.calibrate.config import AdapterConfig
from advcal_edge.calibrate.deploy import deploy_module
from advcal_edge.encoders.base import open_encoder
from advcal_edge.errors import ConfigError

CONFIG = AdapterConfig("prompt", tokens=3)


def trunk() -> nn.Module:
    return open_encoder("bindlite", "thermal", None).module()


X = torch.rand(2, *open_encoder("bindlite", "thermal", None).modality.input.shape) * 20 + 290


def test_tokens_reach_the_output_and_are_all_that_is_trained(tmp_path: Path) -> None:
    model = attach_adapter(trunk(), CONFIG, 384, 0, CleanInputs(X, 0.1))
    (name,) = trainable(model)
    assert trainable(model)[name].shape == (3, model.trunk.norm.normalized_shape[0])
    assert not torch.allclose(model(X), AdaptedModule(trunk())(X), atol=1e-4)
    model(X).sum().backward()
    assert trainable(model)[name].grad is not None
    adapter = Adapter.of(model, CONFIG, 384)
    (tmp_path / "a").write_bytes(adapter.to_bytes())
    deployed = deploy_module(trunk(), Adapter.load(tmp_path / "a"))
    torch.testing.assert_close(deployed(X), model(X))


def test_one_block_takes_and_drops_them_itself() -> None:
    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)])

        def forward(self, x: Tensor) -> Tensor:
            for block in self.blocks:
                x = block(x)
            assert x.shape[1] == 5
            return x.mean(1)

    model = attach_adapter(One(), CONFIG, 8, 0, CleanInputs(torch.rand(2, 5, 8), 0.1))
    assert model(torch.rand(2, 5, 8)).shape == (2, 8)


def test_a_trunk_without_blocks_is_named() -> None:
    with pytest.raises(ConfigError, match=r"finds nothing to change.*2 Linear, 1 ReLU") as caught:
        attach_adapter(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)), CONFIG, 4, 0)
    assert "--adapter head" in str(caught.value.hint)


def test_blocks_with_a_fixed_number_of_tokens_are_named() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.mix = nn.LayerNorm(8), nn.Linear(5, 5)

        def forward(self, x: Tensor) -> Tensor:
            mixed: Tensor = x + self.mix(self.norm(x).transpose(1, 2)).transpose(1, 2)
            return mixed

    with pytest.raises(ConfigError, match="they refuse them"):
        attach_adapter(
            nn.Sequential(nn.Sequential(Fixed(), Fixed())), CONFIG, 8, 0, CleanInputs(torch.rand(2, 5, 8), 1)
        )
