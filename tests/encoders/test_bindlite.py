"""Bindlite: committed weights, their size, their structure and their accuracy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from advcal_edge.calibrate.data.fashion_mnist import NAMES as FASHION, fashion_mnist
from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.calibrate.data.thermal_scenes import NAMES as THERMAL, thermal_scenes
from advcal_edge.encoders.base import Encoder
from advcal_edge.encoders.bindlite import Bindlite
from advcal_edge.encoders.bindlite.encoder import FOLDER
from advcal_edge.encoders.bindlite.trunk import IMAGE, Attention, TrunkConfig
from advcal_edge.errors import ConfigError
from advcal_edge.runtime.preprocess import preprocess

NAMES = {"image": FASHION, "thermal": THERMAL}
both = pytest.mark.parametrize("modality", ["image", "thermal"])


def batch(encoder: Encoder, n: int) -> torch.Tensor:
    return torch.rand(n, *encoder.modality.input.shape, generator=torch.Generator().manual_seed(0))


@both
def test_weights_are_small_and_hashed(modality: str) -> None:
    encoder: Encoder = Bindlite.load(modality)
    assert len(encoder.fingerprint) == 64
    assert (FOLDER / f"{modality}.safetensors").stat().st_size < 2_000_000
    assert sum(parameter.numel() for parameter in encoder.module().parameters()) < 1_000_000


@both
def test_the_module_is_frozen_and_embeds_to_the_width_of_the_centers(modality: str) -> None:
    encoder = Bindlite.load(modality)
    module = encoder.module()
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert module(batch(encoder, 3)).shape == (3, encoder.embedding_dim)
    assert encoder.centers().dim == encoder.embedding_dim


@both
def test_centers_carry_the_names_of_the_data(modality: str) -> None:
    assert Bindlite.load(modality).centers().labels == NAMES[modality]


@both
def test_samples_of_a_batch_do_not_see_each_other(modality: str) -> None:
    encoder = Bindlite.load(modality)
    module, x = encoder.module(), batch(encoder, 5)
    alone = torch.cat([module(x[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(module(x), alone, rtol=1e-4, atol=1e-5)


@both
def test_loading_leaves_the_random_state_alone(modality: str) -> None:
    before = torch.get_rng_state()
    Bindlite.load(modality).module()
    assert torch.equal(before, torch.get_rng_state())


@both
def test_gradients_reach_every_pixel(modality: str) -> None:
    encoder = Bindlite.load(modality)
    x = batch(encoder, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(F.normalize(encoder.module()(x), dim=-1)[:, 0].sum(), x)
    assert torch.isfinite(gradient).all()
    assert (gradient != 0).float().mean() > 0.99


@both
def test_the_graph_exports_with_a_dynamic_batch(modality: str) -> None:
    encoder = Bindlite.load(modality)
    module, shapes = encoder.module(), ({0: torch.export.Dim("n", min=1, max=1024)},)
    graph = torch.export.export(module, (batch(encoder, 2),), dynamic_shapes=shapes).module()
    x = batch(encoder, 7)
    torch.testing.assert_close(graph(x), module(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias_kv", [False, True])
def test_attention_is_that_of_torch(bias_kv: bool) -> None:
    torch.manual_seed(0)
    ours = Attention(24, 4, bias_kv).eval()
    theirs = nn.MultiheadAttention(24, 4, add_bias_kv=bias_kv, batch_first=True).eval()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(0, 0.3)
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        assert theirs.in_proj_bias is not None
        theirs.in_proj_bias.copy_(ours.qkv.bias)
        theirs.out_proj.weight.copy_(ours.proj.weight)
        theirs.out_proj.bias.copy_(ours.proj.bias)
        if ours.bias_k is not None and ours.bias_v is not None:
            assert theirs.bias_k is not None
            assert theirs.bias_v is not None
            theirs.bias_k.copy_(ours.bias_k)
            theirs.bias_v.copy_(ours.bias_v)
        x = torch.randn(3, 5, 24)
        torch.testing.assert_close(ours(x), theirs(x, x, x, need_weights=False)[0], rtol=1e-4, atol=1e-5)


def test_tokens_are_patches_and_the_class_token() -> None:
    assert IMAGE.tokens == 17
    assert TrunkConfig(1, (0.5,), (0.5,), True, False, True, stride=12).tokens == 26


@pytest.mark.parametrize(
    ("modality", "samples", "floor"),
    [("image", fashion_mnist("test"), 0.80), ("thermal", thermal_scenes(20_000_003, 400), 0.80)],
    ids=["image", "thermal"],
)
def test_clean_accuracy_holds(modality: str, samples: Samples, floor: float) -> None:
    encoder = Bindlite.load(modality)
    with torch.no_grad():
        z = encoder.module()(torch.from_numpy(preprocess(encoder.modality, samples.frames)))
    accuracy = float(np.mean(encoder.centers().predict(F.normalize(z, dim=-1)).numpy() == samples.labels))
    assert accuracy >= floor


def test_an_unknown_modality_lists_those_there_are() -> None:
    with pytest.raises(ConfigError) as refusal:
        Bindlite.load("sonar")
    assert "image, thermal" in str(refusal.value.hint)


def test_reading_an_encoder_loads_no_torch() -> None:
    program = (
        "import sys; from advcal_edge.encoders.bindlite import Bindlite; import advcal_edge.runtime.preprocess;"
        " Bindlite.load('image').centers(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
