from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from small_trunk import EMBEDDING_DIM, SPEC, SmallTrunk
from torch import Tensor, nn

from advcal_edge.errors import ExportError
from advcal_edge.export.fidelity import measure_vjp, run_graph
from advcal_edge.export.forward import freeze
from advcal_edge.export.vjp import export_vjp, gelu_back, pull_back


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


class Gathering(nn.Module):
    """Picks values by index, whose backward pass adds into a scattered place."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(x.flatten(1)[:, torch.tensor([0, 5, 5, 7])], dim=-1)


def test_refuses_a_backward_pass_that_scatters(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"needs .*Scatter.*which TensorRT rejects"):
        export_vjp(Gathering(), SPEC, 4, tmp_path / "graph.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["none", "tanh"])
def test_gelu_backward_is_autograds(form: str) -> None:
    x = torch.linspace(-4, 4, 101, requires_grad=True)
    (want,) = torch.autograd.grad(nn.functional.gelu(x, approximate=form).sum(), x)
    torch.testing.assert_close(gelu_back(torch.ones(101), x.detach(), approximate=form), want, atol=1e-6, rtol=1e-5)
