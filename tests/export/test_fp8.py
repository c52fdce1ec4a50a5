from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from small_trunk import SPEC, SmallTrunk

from advcal_edge.errors import ConfigError, ExportError
from advcal_edge.export.conversion import find_conversion
from advcal_edge.export.fidelity import check_fidelity, measure_forward, relative_error, run_graph
from advcal_edge.export.forward import export_forward
from advcal_edge.export.fp8 import LARGEST, convert_fp8, encode
from advcal_edge.export.graph_regions import MATRIX_PRODUCTS

PAIR = ("QuantizeLinear", "DequantizeLinear")


@pytest.fixture(scope="module")
def graph(fp8_graph: Path) -> onnx.GraphProto:
    return onnx.load(str(fp8_graph)).graph


def samples() -> NDArray[np.float32]:
    """What the fixture was calibrated on."""
    return np.random.default_rng(1).integers(0, 256, (32, *SPEC.shape)).astype(np.float32) / np.float32(255)


def test_every_pair_is_e4m3_with_zero_points_of_zero(graph: onnx.GraphProto) -> None:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    pairs = [node for node in graph.node if node.op_type in PAIR]
    assert pairs
    for node in pairs:
        zero = constants[node.input[2]]
        assert zero.data_type == TensorProto.FLOAT8E4M3FN
        assert not numpy_helper.to_array(zero).astype(np.float32).any()


def test_the_same_products_as_int8(graph: onnx.GraphProto, int8_graph: Path) -> None:
    other = onnx.load(str(int8_graph)).graph
    reads = []
    for found in (graph, other):
        dequantised = {node.output[0] for node in found.node if node.op_type == "DequantizeLinear"}
        reads.append({n.name: len(dequantised & set(n.input)) for n in found.node if n.op_type in MATRIX_PRODUCTS})
    assert reads[0] == reads[1]
    assert 2 in reads[0].values()


def test_an_activation_is_scaled_by_its_largest_value_over_448(
    graph: onnx.GraphProto, forward_graph: Path, tmp_path: Path
) -> None:
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    scales = {node.input[0]: constants[node.input[1]] for node in graph.node if node.op_type == "QuantizeLinear"}
    model = onnx.load(str(forward_graph))
    made = {name for node in model.graph.node for name in node.output}
    wanted = sorted(set(scales) & made)
    assert len(wanted) > 4
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name != "z")
    onnx.save(model, str(tmp_path / "taps.onnx"))
    _, *taps = run_graph(tmp_path / "taps.onnx", {"x": samples()}, reference=True)
    for name, values in zip(wanted, taps, strict=True):
        assert scales[name].shape == ()
        assert float(scales[name]) == pytest.approx(float(np.abs(values).max()) / LARGEST, rel=1e-5)


def test_a_weight_has_a_scale_a_channel(graph: onnx.GraphProto) -> None:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    weights = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in constants]
    assert weights
    for node in weights:
        codes = numpy_helper.to_array(constants[node.input[0]]).astype(np.float32)
        assert constants[node.input[0]].data_type == TensorProto.FLOAT8E4M3FN
        axis = next(attribute.i for attribute in node.attribute if attribute.name == "axis") % codes.ndim
        assert list(constants[node.input[1]].dims) == [codes.shape[axis]]
        largest = np.abs(codes).max(axis=tuple(k for k in range(codes.ndim) if k != axis))
        np.testing.assert_array_equal(largest, LARGEST)


@settings(max_examples=50)
@given(arrays(np.float32, (6, 4), elements=st.floats(-1e4, 1e4, width=32)), st.sampled_from([0, 1]))
def test_codes_are_within_half_a_step_of_the_weight(weight: NDArray[np.float32], axis: int) -> None:
    scale, codes = encode(weight, axis)
    back = codes.astype(np.float32) * np.expand_dims(scale, 1 - axis)
    assert np.isfinite(back).all()
    # three bits of mantissa: half a step is a sixteenth of the value, below 2^-6 of the scale it is constant
    bound = np.maximum(np.abs(weight) / 16, np.expand_dims(scale, 1 - axis) * 2.0**-10)
    assert (np.abs(back - weight) <= bound * (1 + 1e-5)).all()


def test_runs_on_a_cpu_as_the_reference_evaluator_says(
    fp8_graph: Path, forward_graph: Path, trunk: SmallTrunk, x: NDArray[np.float32]
) -> None:
    (got,) = run_graph(fp8_graph, {"x": x}, reference=False)
    want = ReferenceEvaluator(str(fp8_graph)).run(None, {"x": x})[0]
    (full,) = run_graph(forward_graph, {"x": x}, reference=True)
    assert relative_error(got, want) < 0.2 * relative_error(want, full)
    fidelity = measure_forward(fp8_graph, trunk, x, reference=False)
    check_fidelity("forward.fp8.onnx", fidelity, find_conversion("fp8").limits)
    assert not fidelity.emulated


def test_opset_19_takes_it_and_18_does_not(trunk: SmallTrunk, tmp_path: Path) -> None:
    export_forward(trunk, SPEC, tmp_path / "19.onnx", 19)
    convert_fp8(tmp_path / "19.onnx", tmp_path / "fp8.onnx", samples()[:8], step="a step")
    assert "a step" in [entry.value for entry in onnx.load(str(tmp_path / "fp8.onnx")).metadata_props]
    export_forward(trunk, SPEC, tmp_path / "18.onnx", 18)
    with pytest.raises(ConfigError, match="`--precision fp8` and `--opset 18`"):
        convert_fp8(tmp_path / "18.onnx", tmp_path / "none.onnx", samples()[:8])


def test_needs_samples_and_something_to_quantise(forward_graph: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="fp8 needs calibration samples"):
        convert_fp8(forward_graph, tmp_path / "none.onnx", np.empty((0, *SPEC.shape), np.float32))
    with pytest.raises(ExportError, match="no matrix product left to quantise to fp8"):
        convert_fp8(forward_graph, tmp_path / "none.onnx", samples()[:8], ("last blocks",))
