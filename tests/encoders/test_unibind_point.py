"""The point encoder against one written anew in numpy from the published tensors, sampling and batch norms included."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from unibind_folder import DIM, SMALL_POINT, point_state

from advcal_edge import spec
from advcal_edge.encoders.unibind.point import PointTrunk
from advcal_edge.encoders.unibind.point_config import is_of_points
from advcal_edge.errors import InputError
from advcal_edge.export.fidelity import measure_vjp, run_graph
from advcal_edge.export.forward import export_forward
from advcal_edge.export.vjp import export_vjp, pull_back
from advcal_edge.runtime.sensors.point import POINT

Array = NDArray[np.float64]
ERF = np.vectorize(math.erf)


@pytest.fixture(scope="module")
def trunk() -> PointTrunk:
    built = PointTrunk(SMALL_POINT)
    built.load_upstream({name: tensor for name, tensor in point_state().items() if is_of_points(name)}, "the test's")
    return built.eval().requires_grad_(False)


def sample(cloud: Array, count: int) -> NDArray[np.intp]:
    """Farthest points, from the first on."""
    chosen = [0]
    while len(chosen) < count:
        apart = ((cloud[:, None] - cloud[chosen]) ** 2).sum(-1).min(1)
        chosen.append(int(apart.argmax()))
    return np.array(chosen)


def clouds(n: int, seed: int = 0) -> Array:
    """In farthest-point order, inside the unit sphere."""
    raw = np.random.default_rng(seed).standard_normal((n, SMALL_POINT.points, 3))
    raw /= np.linalg.norm(raw, axis=-1).max(-1)[:, None, None]
    return np.stack([cloud[sample(cloud, len(cloud))] for cloud in raw])


class Reference:
    """The encoder of one cloud, from tensors under their published names."""

    def __init__(self) -> None:
        self.of = {name: tensor.double().numpy() for name, tensor in point_state().items()}

    def __call__(self, cloud: Array) -> Array:
        points, values = cloud, cloud
        for stage, level in enumerate(SMALL_POINT.levels):
            centers = points[sample(points, level.groups)]
            apart = np.linalg.norm(centers[:, None] - points, axis=-1)
            groups = values[np.argsort(apart, axis=1)[:, : level.neighbours]]
            if stage == 0:
                groups = groups - centers[:, None]
            points, values = centers, self.stage(stage, groups, centers, level.radius)
        tokens = self.norm("point_encoder.norm", values, 1e-5)
        bridged = (tokens.mean(0) + tokens.max(0)) @ self.of["pc_projection"]
        z: Array = (
            self.norm("bind.modality_head_point.0", bridged, 1e-6) @ self.of["bind.modality_head_point.2.weight"].T
        )
        return z

    def stage(self, stage: int, groups: Array, centers: Array, radius: float) -> Array:
        stem = "point_encoder.h_encoder"
        first, second = (f"{stem}.token_embed.{stage}.{part}_conv" for part in ("first", "second"))
        each = self.linear(
            f"{first}.3", np.maximum(self.batch_norm(f"{first}.1", self.linear(f"{first}.0", groups)), 0)
        )
        both = np.concatenate([np.broadcast_to(each.max(1, keepdims=True), each.shape), each], axis=-1)
        mixed = np.maximum(self.batch_norm(f"{second}.1", self.linear(f"{second}.0", both)), 0)
        tokens = self.linear(f"{second}.3", mixed).max(1)
        place = f"{stem}.encoder_pos_embeds.{stage}"
        position = self.linear(f"{place}.2", gelu(self.linear(f"{place}.0", centers)))
        hidden = np.linalg.norm(centers[:, None] - centers, axis=-1) >= radius
        for block in range(SMALL_POINT.depth):
            tokens = self.block(f"{stem}.encoder_blocks.{stage}.blocks.{block}", tokens + position, hidden)
        return tokens

    def block(self, stem: str, x: Array, hidden: NDArray[np.bool_]) -> Array:
        qkv = self.linear(f"{stem}.attn.qkv", self.norm(f"{stem}.norm1", x, 1e-5))
        query, key, value = qkv.reshape(len(x), 3, SMALL_POINT.heads, -1).transpose(1, 2, 0, 3)
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
        shares = np.exp(np.where(hidden, -np.inf, scores))
        mixed = (shares / shares.sum(-1, keepdims=True)) @ value
        x = x + self.linear(f"{stem}.attn.proj", mixed.transpose(1, 0, 2).reshape(x.shape))
        inner = gelu(self.linear(f"{stem}.mlp.fc1", self.norm(f"{stem}.norm2", x, 1e-5)))
        return x + self.linear(f"{stem}.mlp.fc2", inner)

    def linear(self, stem: str, x: Array) -> Array:
        weight = self.of[f"{stem}.weight"]
        return x @ weight.reshape(weight.shape[:2]).T + self.of.get(f"{stem}.bias", np.float64(0))

    def batch_norm(self, stem: str, x: Array) -> Array:
        scaled = (x - self.of[f"{stem}.running_mean"]) / np.sqrt(self.of[f"{stem}.running_var"] + 1e-5)
        return scaled * self.of[f"{stem}.weight"] + self.of[f"{stem}.bias"]

    def norm(self, stem: str, x: Array, eps: float) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
        return scaled * self.of[f"{stem}.weight"] + self.of[f"{stem}.bias"]


def gelu(x: Array) -> Array:
    return x * 0.5 * (1 + ERF(x / math.sqrt(2)))


def test_embeds_as_the_reference_that_samples_for_itself(trunk: PointTrunk) -> None:
    x = clouds(3)
    expected = np.stack([Reference()(cloud) for cloud in x])
    found = trunk(torch.from_numpy(x).float()).numpy()
    assert np.abs(expected[0] - expected[1]).max() > 0.05  # clouds are told apart, so agreement means something
    np.testing.assert_allclose(found, expected, atol=5e-6)


def test_the_reference_tells_a_cloud_in_another_order(trunk: PointTrunk) -> None:
    x = clouds(1)[:, ::-1].copy()
    assert np.abs(trunk(torch.from_numpy(x).float()).numpy()[0] - Reference()(x[0])).max() > 1e-3


def test_a_farthest_point_order_begins_with_the_sample_of_every_scale() -> None:
    (cloud,) = clouds(1, seed=5)
    for larger, smaller in pairwise((48, 16, 8)):
        np.testing.assert_array_equal(sample(cloud[:larger], smaller), np.arange(smaller))


def test_preprocessing_gives_that_order(trunk: PointTrunk) -> None:
    scan = np.random.default_rng(1).standard_normal((200, 3))
    (x,) = POINT.tensors(scan, spec.point(SMALL_POINT.points), 1)
    groups = SMALL_POINT.levels[0].groups
    np.testing.assert_array_equal(sample(x.astype(np.float64), groups), np.arange(groups))
    assert torch.isfinite(trunk(torch.from_numpy(x)[None])).all()


def test_points_that_are_no_centers_have_no_order(trunk: PointTrunk) -> None:
    x = torch.from_numpy(clouds(2)).float()
    groups = SMALL_POINT.levels[0].groups
    turned = torch.cat([x[:, :groups], x[:, groups:].flip(1)], dim=1)
    torch.testing.assert_close(trunk(turned), trunk(x), rtol=1e-5, atol=1e-6)


def test_samples_of_a_batch_do_not_see_each_other(trunk: PointTrunk) -> None:
    x = torch.from_numpy(clouds(3)).float()
    torch.testing.assert_close(trunk(x), torch.cat([trunk(cloud[None]) for cloud in x]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 47, 3), (2, 48, 4), (48, 3)])
def test_a_cloud_of_another_size_is_refused(trunk: PointTrunk, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"expected \(n, 48, 3\)"):
        trunk(torch.zeros(shape))


def broken(name: str, change: Any) -> dict[str, torch.Tensor]:
    state = {name: tensor for name, tensor in point_state().items() if is_of_points(name)}
    if change is None:
        del state[name]
    else:
        state[name] = change(state[name])
    return state


CONVOLUTION = "point_encoder.h_encoder.token_embed.0.first_conv"


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        (f"{CONVOLUTION}.1.running_var", None, "has no `.*running_var`"),
        (f"{CONVOLUTION}.1.running_var", lambda t: t[:-1], "does not fit the map"),
        (f"{CONVOLUTION}.3.bias", None, r"1 missing \(`.*first_conv.3.bias`\)"),
        ("point_encoder.norm.weight", lambda t: t[:-1], "1 of another shape"),
    ],
)
def test_a_broken_checkpoint_is_refused_with_the_published_name(name: str, change: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        PointTrunk(SMALL_POINT).load_upstream(broken(name, change), "the test's")


class Unit(torch.nn.Module):
    """The trunk with the L2 norm that a deployed module ends with."""

    def __init__(self, trunk: PointTrunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(self.trunk(x), dim=-1)


@pytest.mark.slow
def test_forward_and_gradient_export_with_a_dynamic_batch(trunk: PointTrunk, tmp_path: Path) -> None:
    module, source = Unit(trunk).eval(), spec.point(SMALL_POINT.points).input
    export_forward(module, source, tmp_path / "forward.onnx")
    export_vjp(module, source, DIM, tmp_path / "vjp.onnx")
    for n in (1, 3):
        x = torch.from_numpy(clouds(n)).float()
        v = torch.randn(n, DIM, generator=torch.Generator().manual_seed(n))
        z, g = pull_back(module, x, v)
        (forward,) = run_graph(tmp_path / "forward.onnx", {"x": x.numpy()}, reference=True)
        _, back = run_graph(tmp_path / "vjp.onnx", {"x": x.numpy(), "v": v.numpy()}, reference=True)
        np.testing.assert_allclose(forward, z.numpy(), atol=2e-6)
        assert np.linalg.norm(back - g.numpy()) < 1e-5 * np.linalg.norm(g.numpy())
    kinds = {node.op_type for node in onnx.load(str(tmp_path / "vjp.onnx")).graph.node}
    assert not {kind for kind in kinds if "Scatter" in kind or kind in ("Loop", "Scan")}
    fidelity = measure_vjp(tmp_path / "vjp.onnx", module, clouds(3).astype(np.float32), width=2.0)
    assert fidelity.finite_difference_error < 1e-5
