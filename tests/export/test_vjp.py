from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from small_trunk import EMBEDDING_DIM, SPEC, SmallTrunk
from torch import Tensor, nn
from torch.nn import functional

from advcal_edge.errors import ExportError
from advcal_edge.export.backward.activation import gelu_back
from advcal_edge.export.fidelity import measure_vjp, run_graph
from advcal_edge.export.forward import freeze
from advcal_edge.export.scatter import scatter_nodes
from advcal_edge.export.tensorrt.network import read_network
from advcal_edge.export.vjp import export_vjp, pull_back
from advcal_edge.runtime.backends.trt_api import Product, collecting_log, find_product


@pytest.mark.parametrize("n", [1, 3, 8])
def test_pulls_back_any_batch_like_autograd(vjp_graph: Path, trunk: SmallTrunk, x: NDArray[np.float32], n: int) -> None:
    v = np.random.default_rng(n).standard_normal((n, EMBEDDING_DIM)).astype(np.float32)
    z, g = run_graph(vjp_graph, {"x": x[:n], "v": v}, reference=True)
    z_want, g_want = pull_back(freeze(trunk), torch.from_numpy(x[:n]), torch.from_numpy(v))
    np.testing.assert_allclose(z, z_want.numpy(), atol=2e-6)
    assert np.linalg.norm(g - g_want.numpy()) < 1e-5 * np.linalg.norm(g_want.numpy())


def test_is_the_derivative_of_the_module(vjp_graph: Path, trunk: SmallTrunk, x: NDArray[np.float32]) -> None:
    fidelity = measure_vjp(vjp_graph, trunk, x, width=1.0)
    assert fidelity.finite_difference_error < 1e-5
    assert fidelity.sign_agreement > 0.999


def test_is_linear_in_v(vjp_graph: Path, x: NDArray[np.float32]) -> None:
    v = np.random.default_rng(0).standard_normal((8, EMBEDDING_DIM)).astype(np.float32)
    (_, once), (_, thrice) = (run_graph(vjp_graph, {"x": x, "v": scaled}, reference=True) for scaled in (v, 3 * v))
    np.testing.assert_allclose(thrice, 3 * once, rtol=1e-4, atol=1e-6)


def test_no_scatter_and_layer_norm_with_one_output(vjp_graph: Path) -> None:
    nodes = onnx.load(str(vjp_graph)).graph.node
    assert not [node.op_type for node in nodes if "Scatter" in node.op_type]
    norms = [node for node in nodes if node.op_type == "LayerNormalization"]
    assert [len([name for name in node.output if name]) for node in norms] == [1] * 4


def test_labels_names_and_batch(vjp_graph: Path) -> None:
    model = onnx.load(str(vjp_graph))
    first = {
        value.name: value.type.tensor_type.shape.dim[0].dim_param for value in (*model.graph.input, *model.graph.output)
    }
    assert first == {"x": "n", "v": "n", "z": "n", "g": "n"}
    assert {entry.key: entry.value for entry in model.metadata_props}["advcal_edge.kind"] == "vjp"


class Pooling(nn.Module):
    """A convolutional network with every kind of pooling, padding and resampling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 5, 2, padding="valid", bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(16 + 36 + 4, EMBEDDING_DIM)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(self.norm(self.stem(x)).relu(), 3, 2, 1)  # (n, 4, 9, 9)
        x = x + functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1)
        x = functional.interpolate(functional.pad(x, (0, 1, 1, 0), mode="replicate"), size=(7, 8), mode="bilinear")
        x = functional.pad(x, (-1, 2, 0, 0))
        pooled = (functional.adaptive_max_pool2d(x, 2), functional.adaptive_avg_pool2d(x, 3), x.mean((2, 3)))
        return functional.normalize(self.head(torch.cat([part.flatten(1) for part in pooled], 1)), dim=-1)


class Windows(nn.Module):
    """Shifted windows with a relative bias, rotary positions, merged patches, and a learned query that pools."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 10, 10)  # (n, 8, 4, 4)
        self.bias = nn.Parameter(torch.randn(9))
        self.register_buffer("places", torch.arange(16).reshape(4, 4) % 9)
        self.query = nn.Parameter(torch.randn(1, 1, 32))
        self.pool = nn.MultiheadAttention(32, 2, batch_first=True)
        self.head = nn.Linear(32, EMBEDDING_DIM)

    def forward(self, x: Tensor) -> Tensor:
        t = torch.roll(self.stem(x).permute(0, 2, 3, 1), (-1, -1), (1, 2))  # (n, 4, 4, 8)
        t = t.reshape(-1, 2, 2, 2, 2, 8).transpose(2, 3).reshape(-1, 4, 8)  # windows of four tokens
        rotated = t * 0.5 + torch.cat([-t[..., 4:], t[..., :4]], -1) * 0.8
        t = (rotated @ rotated.mT / 3 + self.bias[self.places]).softmax(-1) @ t
        t = t.reshape(-1, 2, 2, 2, 2, 8).transpose(2, 3).reshape(-1, 4, 4, 8)
        t = torch.cat([t[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], -1).flatten(1, 2)
        pooled = self.pool(self.query.expand(x.shape[0], -1, -1), t, t)[0][:, 0]
        return functional.normalize(self.head(pooled + t[:, -1]), dim=-1)


class Gathering(nn.Module):
    """Takes the token with the largest sum, which differs from sample to sample."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(1).unflatten(1, (-1, EMBEDDING_DIM))
        return functional.normalize(tokens[torch.arange(x.shape[0]), tokens.sum(-1).argmax(-1)], dim=-1)


def compare_with_autograd(module: nn.Module, path: Path) -> None:
    for n in (1, 3, 8):
        rng = np.random.default_rng(n)
        x = rng.random((n, *SPEC.shape), dtype=np.float32)
        v = rng.standard_normal((n, EMBEDDING_DIM), dtype=np.float32)
        z, g = run_graph(path, {"x": x, "v": v}, reference=True)
        z_want, g_want = pull_back(freeze(module), torch.from_numpy(x), torch.from_numpy(v))
        np.testing.assert_allclose(z, z_want.numpy(), atol=2e-6)
        assert np.linalg.norm(g - g_want.numpy()) < 1e-5 * np.linalg.norm(g_want.numpy())


@pytest.mark.slow  # test_backward.py holds each translation against autograd
@pytest.mark.parametrize("build", [Pooling, Windows])
def test_architectures_of_real_encoders_export_without_scatter(build: type[nn.Module], tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build()
    export_vjp(module, SPEC, EMBEDDING_DIM, tmp_path / "vjp.fp32.onnx")
    compare_with_autograd(module, tmp_path / "vjp.fp32.onnx")
    model = onnx.load(str(tmp_path / "vjp.fp32.onnx"))
    assert not [node.op_type for node in model.graph.node if "Scatter" in node.op_type]
    if find_spec("tensorrt_rtx_bindings") is not None:
        product = find_product("tensorrt_rtx")
        log = collecting_log(product.module)
        read_network(product, product.module.Builder(log), log, tmp_path / "vjp.fp32.onnx")  # raises if it cannot


def test_a_backward_pass_that_scatters_runs_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "vjp.fp32.onnx"
    export_vjp(Gathering(), SPEC, EMBEDDING_DIM, path)
    compare_with_autograd(Gathering(), path)
    (name,) = scatter_nodes(path)
    with pytest.raises(ExportError, match=rf"TensorRT-RTX.* does not read `vjp.fp32.onnx`: `{name}` adds") as refused:
        read_network(Product("tensorrt_rtx", None, (1, 4)), None, None, path)
    assert "--no-gradient" in str(refused.value.hint)


@pytest.mark.parametrize("form", ["none", "tanh"])
def test_gelu_backward_is_autograds(form: str) -> None:
    x = torch.linspace(-4, 4, 101, requires_grad=True)
    (want,) = torch.autograd.grad(nn.functional.gelu(x, approximate=form).sum(), x)
    torch.testing.assert_close(gelu_back(torch.ones(101), x.detach(), approximate=form), want, atol=1e-6, rtol=1e-5)
