"""The video tower, which has every operation of the others, as graphs: forward and gradient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from languagebind_folder import write_folder
from numpy.typing import NDArray

from advcal_edge.calibrate.adapters import AdaptedModule
from advcal_edge.encoders.languagebind import Languagebind
from advcal_edge.export.fidelity import measure_forward, measure_vjp, run_graph
from advcal_edge.export.forward import export_forward
from advcal_edge.export.vjp import export_vjp

FORBIDDEN = ("Gather", "Scatter", "NonZero", "OneHot")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Languagebind:
    folder = tmp_path_factory.mktemp("video") / "F"
    return Languagebind.load("video", write_folder(folder, "video", {"num_frames": 2, "hidden_act": "gelu"}))


@pytest.fixture
def x(encoder: Languagebind) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((3, *encoder.modality.input.shape), dtype=np.float32)


def test_the_forward_graph(encoder: Languagebind, x: NDArray[np.float32], tmp_path: Path) -> None:
    module = AdaptedModule(encoder.module())
    export_forward(module, encoder.modality.input, tmp_path / "forward.onnx")
    fidelity = measure_forward(tmp_path / "forward.onnx", module, x, reference=True)
    assert fidelity.relative_l2 < 2e-6
    assert shape_of_one(tmp_path / "forward.onnx", {"x": x[:1]}) == (1, 20)
    assert not gathers(tmp_path / "forward.onnx")


@pytest.mark.slow
def test_the_gradient_graph(encoder: Languagebind, x: NDArray[np.float32], tmp_path: Path) -> None:
    module = AdaptedModule(encoder.module())
    export_vjp(module, encoder.modality.input, encoder.embedding_dim, tmp_path / "vjp.onnx")
    fidelity = measure_vjp(tmp_path / "vjp.onnx", module, x, encoder.modality.input.width)
    assert fidelity.relative_l2 < 1e-5
    assert fidelity.finite_difference_error < 1e-4
    assert shape_of_one(tmp_path / "vjp.onnx", {"x": x[:1], "v": np.ones((1, 20), np.float32)}) == (1, 20)
    assert not gathers(tmp_path / "vjp.onnx")


def shape_of_one(path: Path, feeds: dict[str, NDArray[np.float32]]) -> tuple[int, ...]:
    return run_graph(path, feeds, reference=True)[0].shape


def gathers(path: Path) -> set[str]:
    """Operators that pick or place by index."""
    graph = onnx.load(str(path)).graph
    return {node.op_type for node in graph.node if node.op_type.startswith(FORBIDDEN)}
