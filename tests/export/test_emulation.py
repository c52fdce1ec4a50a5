"""The emulation is held against ONNX's reference evaluator, which computes the half-precision graph itself."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from advcal_edge.export.fidelity import relative_error, run_graph
from advcal_edge.export.fp16 import ELEMENTS, convert_cast, emulate

BITS: dict[str, int] = {"fp16": 11, "bf16": 8}


@pytest.mark.parametrize("precision", BITS)
def test_close_to_the_reference_evaluator_on_the_graph_itself(
    precision: str, fp16_graph: Path, bf16_graph: Path, x: NDArray[np.float32], tmp_path: Path
) -> None:
    path = fp16_graph if precision == "fp16" else bf16_graph
    emulate(path, tmp_path / "emulated.onnx", precision)
    (got,) = run_graph(tmp_path / "emulated.onnx", {"x": x[:4]}, reference=True)
    want = ReferenceEvaluator(str(path)).run(None, {"x": x[:4]})[0]
    # it sums in half precision where matrix units sum in fp32, so that the two differ by single roundings
    assert relative_error(got, want) < 2.0 ** -BITS[precision]


@pytest.mark.parametrize("precision", BITS)
def test_further_off_than_fp32_by_as_much_as_there_are_bits(
    precision: str, forward_graph: Path, x: NDArray[np.float32], tmp_path: Path
) -> None:
    convert_cast(forward_graph, tmp_path / "half.onnx", precision)
    emulate(tmp_path / "half.onnx", tmp_path / "emulated.onnx", precision)
    (got,) = run_graph(tmp_path / "emulated.onnx", {"x": x}, reference=True)
    (want,) = run_graph(forward_graph, {"x": x}, reference=True)
    assert 2.0 ** -(BITS[precision] + 3) < relative_error(got, want) < 2.0 ** -(BITS[precision] - 2)


@pytest.mark.parametrize("precision", BITS)
def test_a_product_is_exact_but_for_one_rounding_of_its_result(precision: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dtype = helper.tensor_dtype_to_np_dtype(ELEMENTS[precision])
    weight = rng.standard_normal((64, 5)).astype(np.float32)
    graph = onnx.parser.parse_graph("g (float[n, 64] x) => (float[n, 5] z) { h = MatMul(x, w) z = MatMul(h, i) }")
    for k, node in enumerate(graph.node):
        node.name = f"node{k}"
    constants = {"w": weight, "i": np.eye(5, dtype=np.float32)}  # the last product is the head
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, str(tmp_path / "fp32.onnx"))
    convert_cast(tmp_path / "fp32.onnx", tmp_path / "half.onnx", precision)
    emulate(tmp_path / "half.onnx", tmp_path / "emulated.onnx", precision)
    x = rng.standard_normal((7, 64)).astype(np.float32)
    (got,) = run_graph(tmp_path / "emulated.onnx", {"x": x}, reference=True)
    exact = x.astype(dtype).astype(np.float64) @ weight.astype(dtype).astype(np.float64)
    np.testing.assert_array_equal(got, exact.astype(np.float32).astype(dtype).astype(np.float32))


def test_overflows_as_a_matrix_unit_does_and_onnx_runtime_on_a_cpu_does_not(tmp_path: Path) -> None:
    graph = onnx.parser.parse_graph("g (float[n, 2] x) => (float[n, 2] z) { h = MatMul(x, w) z = MatMul(h, i) }")
    for k, node in enumerate(graph.node):
        node.name = f"node{k}"
    for name, scale in (("w", 1000.0), ("i", 1.0)):
        graph.initializer.append(numpy_helper.from_array(scale * np.eye(2, dtype=np.float32), name))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, str(tmp_path / "fp32.onnx"))
    convert_cast(tmp_path / "fp32.onnx", tmp_path / "fp16.onnx", "fp16")
    emulate(tmp_path / "fp16.onnx", tmp_path / "emulated.onnx", "fp16")
    x = np.full((1, 2), 100, np.float32)
    runs = {name: run_graph(tmp_path / f"{name}.onnx", {"x": x}, reference=True)[0] for name in ("emulated", "fp16")}
    assert not np.isfinite(runs["emulated"]).any()
    if platform.machine() in ("x86_64", "AMD64"):  # elsewhere there are fp16 products
        np.testing.assert_array_equal(runs["fp16"], [[1e5, 1e5]])


def test_no_value_of_half_precision_is_computed_with(bf16_graph: Path, tmp_path: Path) -> None:
    emulate(bf16_graph, tmp_path / "emulated.onnx", "bf16")
    model = onnx.shape_inference.infer_shapes(onnx.load(str(tmp_path / "emulated.onnx")), strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    half = {v.name for v in model.graph.value_info if v.type.tensor_type.elem_type == TensorProto.BFLOAT16}
    assert half
    assert {node.op_type for node in model.graph.node if not half.isdisjoint((*node.input, *node.output))} == {"Cast"}
