"""Bindlite: committed weights, their size, their structure, their accuracy and what binds them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.calibrate.data.builtin import (
    ACTIVITIES,
    CLOTHES as FASHION,
    OBJECT_NAMES as SCENE_NAMES,
    basic_motions,
    fashion_mnist,
    scene_samples,
)
from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.encoders.base import Encoder
from advcal_edge.encoders.bindlite import PARTNER, Bindlite
from advcal_edge.encoders.bindlite.encoder import FOLDER, MODALITIES, SCENE
from advcal_edge.encoders.bindlite.trunk import TRUNKS, Trunk
from advcal_edge.encoders.transformer import Attention
from advcal_edge.errors import ConfigError
from advcal_edge.export.fidelity import (
    FP32_LIMITS,
    VJP_LIMITS,
    check_fidelity,
    measure_forward,
    measure_vjp,
)
from advcal_edge.export.forward import export_forward
from advcal_edge.export.vjp import export_vjp
from advcal_edge.retrieval import recall
from advcal_edge.runtime.sensors import preprocess

NAMES = {"image": FASHION, "imu": ACTIVITIES, **dict.fromkeys(SCENE, SCENE_NAMES)}
SEED = 30_000_001
"""Of scenes that neither training nor the model card has seen."""

PAIRS = 64
Embeddings = dict[str, tuple[NDArray[np.float32], NDArray[np.int64]]]
IMAGE_SHA256 = "039cd10af8d7c5be1599fa68fde5148c23f62326e40c0f0f805a638afbb49028"

each = pytest.mark.parametrize("modality", list(MODALITIES))


def batch(encoder: Encoder, n: int) -> Tensor:
    spec = encoder.modality.input
    share = torch.rand(n, *spec.shape, generator=torch.Generator().manual_seed(0))
    return spec.bounds[0] + spec.width * share


def embed(encoder: Encoder, samples: Samples) -> NDArray[np.float32]:
    with torch.no_grad():
        z = F.normalize(encoder.module()(torch.from_numpy(preprocess(encoder.modality, samples.frames))), dim=-1)
    found: NDArray[np.float32] = z.numpy()
    return found


@pytest.fixture(scope="session")
def scene_embeddings() -> Embeddings:
    """Of the same few scenes, by every sensor; and their labels."""
    found = {}
    for modality in SCENE:
        samples = scene_samples(modality, SEED, PAIRS)
        found[modality] = embed(Bindlite.load(modality), samples), samples.labels
    return found


@each
def test_weights_are_small_and_hashed(modality: str) -> None:
    encoder: Encoder = Bindlite.load(modality, None)
    assert len(encoder.fingerprint) == 64
    assert (FOLDER / f"{modality}.safetensors").stat().st_size < 2_000_000
    assert sum(parameter.numel() for parameter in encoder.module().parameters()) < 1_000_000


def test_the_image_weights_are_those_of_the_first_release() -> None:
    stored = (FOLDER / "image.safetensors").read_bytes()
    assert hashlib.sha256(stored).hexdigest() == IMAGE_SHA256 == Bindlite.load("image").fingerprint


def test_no_two_modalities_share_weights() -> None:
    assert len({Bindlite.load(modality).fingerprint for modality in MODALITIES}) == len(MODALITIES)


@each
def test_the_module_is_frozen_and_embeds_to_the_width_of_the_centers(modality: str) -> None:
    encoder = Bindlite.load(modality)
    module = encoder.module()
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert module(batch(encoder, 3)).shape == (3, encoder.embedding_dim)
    assert encoder.centers().dim == encoder.embedding_dim


@each
def test_centers_carry_the_names_of_the_data(modality: str) -> None:
    assert Bindlite.load(modality).centers().labels == NAMES[modality]


def test_all_that_sense_scenes_share_their_centers() -> None:
    first, *others = (Bindlite.load(modality).centers().vectors for modality in SCENE)
    assert all(np.array_equal(first, other) for other in others)


def test_partners_sense_the_same_scenes_and_video_binds_them() -> None:
    assert {"image", "imu"} == MODALITIES.keys() - PARTNER.keys()
    assert PARTNER.keys() == set(SCENE)
    assert all(partner == ("thermal" if modality == "video" else "video") for modality, partner in PARTNER.items())


@each
def test_samples_of_a_batch_do_not_see_each_other(modality: str) -> None:
    encoder = Bindlite.load(modality)
    module, x = encoder.module(), batch(encoder, 5)
    alone = torch.cat([module(x[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(module(x), alone, rtol=1e-4, atol=1e-5)


def test_points_may_come_in_any_order() -> None:
    encoder = Bindlite.load("point")
    module, x = encoder.module(), batch(encoder, 3)
    shuffled = x[:, torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(module(shuffled), module(x), rtol=1e-4, atol=1e-5)


@each
def test_loading_leaves_the_random_state_alone(modality: str) -> None:
    before = torch.get_rng_state()
    Bindlite.load(modality).module()
    assert torch.equal(before, torch.get_rng_state())


@each
def test_gradients_reach_every_value(modality: str) -> None:
    encoder = Bindlite.load(modality)
    x = batch(encoder, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(F.normalize(encoder.module()(x), dim=-1)[:, 0].sum(), x)
    assert torch.isfinite(gradient).all()
    assert (gradient != 0).float().mean() > 0.99


def check_exports(module: nn.Module, encoder: Encoder, folder: Path) -> None:
    spec, x = encoder.modality.input, batch(encoder, 5).numpy()
    forward, vjp = folder / "forward.onnx", folder / "vjp.onnx"
    export_forward(module, spec, forward)
    export_vjp(module, spec, encoder.embedding_dim, vjp)
    check_fidelity("forward", measure_forward(forward, module, x, reference=True), FP32_LIMITS)
    check_fidelity("vjp", measure_vjp(vjp, module, x, spec.width), VJP_LIMITS)
    indexing = {"Scatter", "ScatterND", "ScatterElements", "GatherND", "GatherElements", "TopK"}
    for path in (forward, vjp):
        assert not indexing & {node.op_type for node in onnx.load(str(path)).graph.node}


@pytest.mark.slow
def test_the_stem_without_a_grid_exports_with_a_dynamic_batch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shallow = Trunk(replace(TRUNKS["point"], depth=1)).eval()
    check_exports(shallow, Bindlite.load("point"), tmp_path)


@pytest.mark.slow
@each
def test_every_trunk_exports_with_a_dynamic_batch(modality: str, tmp_path: Path) -> None:
    encoder = Bindlite.load(modality)
    check_exports(encoder.module(), encoder, tmp_path)


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


@each
def test_the_trunk_takes_what_the_modality_gives(modality: str) -> None:
    assert TRUNKS[modality].shape == MODALITIES[modality].input.shape


@pytest.mark.parametrize(
    ("modality", "tokens"), [("image", 17), ("video", 17), ("audio", 25), ("imu", 11), ("point", 17)]
)
def test_tokens_are_patches_or_queries_and_the_class_token(modality: str, tokens: int) -> None:
    assert TRUNKS[modality].tokens == tokens
    assert Bindlite.load(modality).module().get_parameter("position").shape[1] == tokens


@pytest.mark.parametrize(
    ("modality", "samples", "floor"),
    [("image", fashion_mnist("test"), 0.80), ("imu", basic_motions("test"), 0.90)],
    ids=["image", "imu"],
)
def test_clean_accuracy_holds(modality: str, samples: Samples, floor: float) -> None:
    encoder = Bindlite.load(modality)
    assert np.mean(encoder.centers().predict(embed(encoder, samples)) == samples.labels) >= floor


@pytest.mark.parametrize("modality", SCENE)
def test_scenes_are_recognised(scene_embeddings: Embeddings, modality: str) -> None:
    z, labels = scene_embeddings[modality]
    assert np.mean(Bindlite.load(modality).centers().predict(z) == labels) > 0.6


@pytest.mark.parametrize("modality", SCENE)
def test_a_scene_is_found_by_its_partner(scene_embeddings: Embeddings, modality: str) -> None:
    found = recall(scene_embeddings[modality][0], scene_embeddings[PARTNER[modality]][0])
    for ranks in (found.forward, found.backward):
        assert np.mean(ranks < 5) > 3 * 5 / PAIRS, "three times what chance finds"


@pytest.mark.parametrize("modality", ["thermal", "depth", "event"])
def test_cameras_find_the_scene_and_not_only_its_class(scene_embeddings: Embeddings, modality: str) -> None:
    (z, labels), (partner, _) = scene_embeddings[modality], scene_embeddings[PARTNER[modality]]
    hits = [recall(z[labels == k], partner[labels == k]).forward == 0 for k in range(len(SCENE_NAMES))]
    assert np.mean(np.concatenate(hits)) > 2 / 8, "of eight scenes of a class one is right by chance"


def test_unknown_modality_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="no trunk for the modality `smell`") as caught:
        Bindlite.load("smell")
    assert caught.value.hint == "there is: image, video, thermal, depth, audio, imu, event, point"


def test_weights_of_others_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="brings its own weights") as caught:
        Bindlite.load("image", tmp_path / "weights.pth")
    assert caught.value.hint == "leave `--weights` out"


def test_reading_an_encoder_loads_no_torch() -> None:
    program = (
        "import sys; from advcal_edge.encoders.bindlite import Bindlite; import advcal_edge.runtime.sensors;"
        " Bindlite.load('image').centers(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
