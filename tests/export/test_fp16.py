from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto
from small_trunk import SPEC, SmallTrunk

from advcal_edge.errors import ExportError
from advcal_edge.export.fidelity import run_graph
from advcal_edge.export.forward import export_forward
from advcal_edge.export.fp16 import ELEMENTS, convert_cast
from advcal_edge.export.graph_regions import MATRIX_PRODUCTS, head_nodes, products
from advcal_edge.export.precision import FURTHER


@pytest.fixture(scope="module", params=["fp16", "bf16"])
def precision(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def path(precision: str, fp16_graph: Path, bf16_graph: Path) -> Path:
    return fp16_graph if precision == "fp16" else bf16_graph


@pytest.fixture(scope="module")
def graph(path: Path) -> onnx.GraphProto:
    return onnx.shape_inference.infer_shapes(onnx.load(str(path)), strict_mode=True).graph


@pytest.fixture(scope="module")
def types(graph: onnx.GraphProto) -> dict[str, int]:
    values = (*graph.input, *graph.output, *graph.value_info)
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    return {**found, **{tensor.name: tensor.data_type for tensor in graph.initializer}}


def test_matrix_products_before_the_head_are_half(
    graph: onnx.GraphProto, types: dict[str, int], precision: str
) -> None:
    products = [node for node in graph.node if node.op_type in MATRIX_PRODUCTS]
    head = head_nodes(graph)
    assert len([node for node in products if node.name in head]) == 1
    for node in products:
        full = node.name in head or (precision == "bf16" and node.op_type == "Conv")
        want = TensorProto.FLOAT if full else ELEMENTS[precision]
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


def test_halves_the_weights(path: Path, forward_graph: Path, precision: str) -> None:
    assert path.stat().st_size < (0.7 if precision == "fp16" else 0.9) * forward_graph.stat().st_size


def test_no_value_is_cast_twice(graph: onnx.GraphProto) -> None:
    casts = [(node.input[0], node.attribute[0].i) for node in graph.node if node.op_type == "Cast"]
    assert len(casts) == len(set(casts))


def test_a_weight_beyond_fp16_stays_fp32(forward_graph: Path, tmp_path: Path) -> None:
    model = onnx.load(str(forward_graph))
    stem = next(tensor for tensor in model.graph.initializer if tensor.name == "stem.weight")
    stem.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(stem) * np.float32(1e7), "stem.weight"))
    onnx.save(model, str(tmp_path / "large.onnx"))
    convert_cast(tmp_path / "large.onnx", tmp_path / "mixed.onnx", "fp16")
    types = {tensor.name: tensor.data_type for tensor in onnx.load(str(tmp_path / "mixed.onnx")).graph.initializer}
    assert types["stem.weight"] == TensorProto.FLOAT


@pytest.mark.parametrize("opset", [18, 19, 20])
def test_bf16_is_valid_in_every_opset(trunk: SmallTrunk, tmp_path: Path, opset: int) -> None:
    export_forward(trunk, SPEC, tmp_path / "fp32.onnx", opset)
    convert_cast(tmp_path / "fp32.onnx", tmp_path / "bf16.onnx", "bf16")
    found = onnx.load(str(tmp_path / "bf16.onnx"))
    assert {entry.key: entry.value for entry in found.metadata_props}["advcal_edge.precision"] == "bf16"
    assert any(tensor.data_type == TensorProto.BFLOAT16 for tensor in found.graph.initializer)


@pytest.mark.parametrize(
    ("precision", "further"), [("fp16", "attention scores"), ("bf16", "attention scores"), ("fp16", "last blocks")]
)
def test_further_parts_stay_fp32_and_nothing_else_changes(
    forward_graph: Path, tmp_path: Path, precision: str, further: str
) -> None:
    source = onnx.load(str(forward_graph)).graph
    first, more = (half_products(forward_graph, tmp_path, precision, parts) for parts in ((), (further,)))
    part = next(part for part in FURTHER if part.name == further)
    assert first - more == first & part.find(source)
    assert first > more


def half_products(source: Path, folder: Path, precision: str, further: tuple[str, ...]) -> frozenset[str]:
    """Names of the matrix products that are computed in half precision."""
    target = folder / f"{len(further)}.onnx"
    convert_cast(source, target, precision, further, "a step")
    model = onnx.shape_inference.infer_shapes(onnx.load(str(target)), strict_mode=True)
    assert {entry.key: entry.value for entry in model.metadata_props}["advcal_edge.step"] == "a step"
    half = {v.name for v in model.graph.value_info if v.type.tensor_type.elem_type == ELEMENTS[precision]}
    return products(model.graph) & makers(half, model)


def makers(values: set[str], model: onnx.ModelProto) -> set[str]:
    """Names of the nodes that make these values."""
    return {node.name for node in model.graph.node if not values.isdisjoint(node.output)}


def test_nothing_to_convert(tmp_path: Path) -> None:
    graph = onnx.parser.parse_graph("g (float[n, 4] x) => (float[n, 4] z) { z = Relu(x) }")
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)]), str(tmp_path / "g.onnx"))
    with pytest.raises(ExportError, match="no matrix product left to convert to fp16"):
        convert_cast(tmp_path / "g.onnx", tmp_path / "h.onnx", "fp16")


def test_nothing_left_to_convert(forward_graph: Path, tmp_path: Path) -> None:
    """The small trunk's stem is a Conv and its one block holds all other products."""
    with pytest.raises(ExportError, match="no matrix product left to convert to bf16"):
        convert_cast(forward_graph, tmp_path / "none.onnx", "bf16", ("last blocks",))
