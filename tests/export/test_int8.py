from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from small_trunk import SPEC

from advcal_edge.errors import ExportError
from advcal_edge.export.fidelity import run_graph
from advcal_edge.export.graph_regions import MATRIX_PRODUCTS, head_nodes, products, stem_products
from advcal_edge.export.int8 import convert_int8


@pytest.fixture(scope="module")
def graph(int8_graph: Path) -> onnx.GraphProto:
    return onnx.load(str(int8_graph)).graph


def test_symmetric_int8_everywhere(graph: onnx.GraphProto) -> None:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    pairs = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert pairs
    for node in pairs:
        zero = constants[node.input[2]]
        assert zero.data_type == TensorProto.INT8
        assert not numpy_helper.to_array(zero).any()


def test_products_between_stem_and_head_read_dequantised_values(graph: onnx.GraphProto) -> None:
    dequantised = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    spared = head_nodes(graph) & products(graph) | stem_products(graph)
    for node in graph.node:
        if node.op_type in MATRIX_PRODUCTS:
            reads = [name in dequantised for name in node.input[:2]]
            assert reads == [node.name not in spared] * 2, node.name


def test_weights_have_a_scale_a_channel(graph: onnx.GraphProto) -> None:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    scales = [
        constants[node.input[1]]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in constants
    ]
    assert scales
    assert all(len(scale.dims) == 1 and scale.dims[0] > 1 for scale in scales)


def test_bias_stays_float(graph: onnx.GraphProto) -> None:
    kinds = {tensor.data_type for tensor in graph.initializer}
    assert TensorProto.INT32 not in kinds
    dequantised = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    biases = {node.input[2] for node in graph.node if node.op_type == "Gemm" and len(node.input) > 2}
    assert biases
    assert biases.isdisjoint(dequantised)


def test_runs_fully_optimised(int8_graph: Path, forward_graph: Path, x: NDArray[np.float32]) -> None:
    (got,), (want,) = (run_graph(path, {"x": x}, reference=False) for path in (int8_graph, forward_graph))
    assert (got * want).sum(1).mean() > 0.98


def test_same_bytes_twice_and_no_leftovers(int8_graph: Path, forward_graph: Path, tmp_path: Path) -> None:
    samples = np.random.default_rng(1).integers(0, 256, (32, *SPEC.shape)).astype(np.float32) / np.float32(255)
    convert_int8(forward_graph, tmp_path / "again.onnx", samples)
    assert [path.name for path in tmp_path.iterdir()] == ["again.onnx"]
    assert (tmp_path / "again.onnx").read_bytes() == int8_graph.read_bytes()


def test_needs_samples(forward_graph: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="found none"):
        convert_int8(forward_graph, tmp_path / "none.onnx", np.empty((0, *SPEC.shape), np.float32))


def test_samples_of_another_shape(forward_graph: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="cannot be quantised"):
        convert_int8(forward_graph, tmp_path / "bad.onnx", np.zeros((2, 1, 8, 8), np.float32))
    assert not list(tmp_path.iterdir())
