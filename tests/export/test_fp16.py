from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from advcal_edge.errors import ExportError
from advcal_edge.export.anatomy import MATRIX_PRODUCTS, head_nodes
from advcal_edge.export.fidelity import run_graph
from advcal_edge.export.fp16 import POLICY, convert_fp16


@pytest.fixture(scope="module")
def graph(fp16_graph: Path) -> onnx.GraphProto:
    return onnx.shape_inference.infer_shapes(onnx.load(str(fp16_graph)), strict_mode=True).graph


@pytest.fixture(scope="module")
def types(graph: onnx.GraphProto) -> dict[str, int]:
    values = (*graph.input, *graph.output, *graph.value_info)
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    return {**found, **{tensor.name: tensor.data_type for tensor in graph.initializer}}


def test_matrix_products_before_the_head_are_fp16(graph: onnx.GraphProto, types: dict[str, int]) -> None:
    products = [node for node in graph.node if node.op_type in MATRIX_PRODUCTS]
    head = head_nodes(graph)
    assert len([node for node in products if node.name in head]) == 1
    for node in products:
        want = TensorProto.FLOAT if node.name in head else TensorProto.FLOAT16
        assert {types[name] for name in (*node.input, *node.output)} == {want}, node.name


def test_norms_softmax_residuals_and_l2_norm_are_fp32(graph: onnx.GraphProto, types: dict[str, int]) -> None:
    kinds = {"LayerNormalization", "Softmax", "ReduceL2", "Clip", "Div"}
    nodes = [node for node in graph.node if node.op_type in kinds]
    assert {node.op_type for node in nodes} == kinds
    constants = {tensor.name for tensor in graph.initializer}
    sums = [node for node in graph.node if node.op_type == "Add" and constants.isdisjoint(node.input)]
    assert len(sums) == 2
    for node in (*nodes, *sums):
        assert types[node.output[0]] == TensorProto.FLOAT, node.name


def test_input_is_normalised_before_it_is_rounded(graph: onnx.GraphProto, types: dict[str, int]) -> None:
    assert [(types[name]) for name in ("x", "z")] == [TensorProto.FLOAT, TensorProto.FLOAT]
    assert {node.op_type for node in graph.node if "x" in node.input} <= {"Sub", "Shape"}


def test_runs_fully_optimised_and_close(fp16_graph: Path, forward_graph: Path, x: NDArray[np.float32]) -> None:
    (got,), (want,) = (run_graph(path, {"x": x}, reference=False) for path in (fp16_graph, forward_graph))
    assert got.dtype == np.float32
    assert 0 < np.linalg.norm(got - want) < 2e-3 * np.linalg.norm(want)


def test_halves_the_weights(fp16_graph: Path, forward_graph: Path) -> None:
    assert fp16_graph.stat().st_size < 0.7 * forward_graph.stat().st_size


def test_no_value_is_cast_twice(graph: onnx.GraphProto) -> None:
    casts = [(node.input[0], node.attribute[0].i) for node in graph.node if node.op_type == "Cast"]
    assert len(casts) == len(set(casts))


def test_a_weight_beyond_fp16_stays_fp32(forward_graph: Path, tmp_path: Path) -> None:
    model = onnx.load(str(forward_graph))
    stem = next(tensor for tensor in model.graph.initializer if tensor.name == "stem.weight")
    stem.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(stem) * np.float32(1e7), "stem.weight"))
    onnx.save(model, str(tmp_path / "large.onnx"))
    convert_fp16(tmp_path / "large.onnx", tmp_path / "mixed.onnx")
    types = {tensor.name: tensor.data_type for tensor in onnx.load(str(tmp_path / "mixed.onnx")).graph.initializer}
    assert types["stem.weight"] == TensorProto.FLOAT


def test_nothing_to_convert(tmp_path: Path) -> None:
    graph = onnx.parser.parse_graph("g (float[n, 4] x) => (float[n, 4] z) { z = Relu(x) }")
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)]), str(tmp_path / "g.onnx"))
    with pytest.raises(ExportError, match="no matrix product"):
        convert_fp16(tmp_path / "g.onnx", tmp_path / "h.onnx")


def test_policy_gives_reasons() -> None:
    assert [keep.name for keep in POLICY] == ["input", "layer norm", "softmax", "residual", "head"]
    assert all(keep.what and keep.reason for keep in POLICY)
