from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from small_trunk import SmallTrunk

from advcal_edge.errors import ExportError
from advcal_edge.export.conversion import Limit, find_conversion
from advcal_edge.export.fidelity import (
    FP32_LIMITS,
    VJP_LIMITS,
    ForwardFidelity,
    check_fidelity,
    measure_forward,
    measure_vjp,
)
from advcal_edge.precision import PRECISIONS


def test_faithful_graphs_pass(
    forward_graph: Path, fp16_graph: Path, int8_graph: Path, trunk: SmallTrunk, x: NDArray[np.float32]
) -> None:
    fp32 = measure_forward(forward_graph, trunk, x, reference=True)
    fp16 = measure_forward(fp16_graph, trunk, x, reference=False)
    int8 = measure_forward(int8_graph, trunk, x, reference=False)
    check_fidelity("forward.fp32.onnx", fp32, FP32_LIMITS)
    check_fidelity("forward.fp16.onnx", fp16, find_conversion("fp16").limits)
    check_fidelity("forward.int8.onnx", int8, find_conversion("int8").limits)
    assert fp32.relative_l2 < fp16.relative_l2 < int8.relative_l2
    assert int8.cosine_min <= int8.cosine_mean < fp16.cosine_mean
    assert fp32.samples == len(x)


def test_a_broken_graph_is_refused(broken_graph: Path, trunk: SmallTrunk, x: NDArray[np.float32]) -> None:
    fidelity = measure_forward(broken_graph, trunk, x, reference=True)
    with pytest.raises(ExportError, match=r"`forward.fp32.onnx` does not .*relative_l2 is .*expected at most 0.0001"):
        check_fidelity("forward.fp32.onnx", fidelity, FP32_LIMITS)


@pytest.mark.parametrize("share", [0.5, 0.01])
def test_a_wrong_gradient_is_refused(
    vjp_graph: Path, trunk: SmallTrunk, x: NDArray[np.float32], tmp_path: Path, share: float
) -> None:
    model = onnx.load(str(vjp_graph))
    back = next(node for node in model.graph.node if node.op_type == "ConvTranspose")
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == back.input[1])
    forward = next(node for node in model.graph.node if node.op_type == "Conv")
    shrunk = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.float32(1 - share), "shrunk")
    assert forward.input[1] == weight.name  # so the disturbed copy leaves the forward half alone
    model.graph.initializer.append(shrunk)
    back.input[1] = "shrunk"
    onnx.save(model, str(tmp_path / "vjp.onnx"))
    fidelity = measure_vjp(tmp_path / "vjp.onnx", trunk, x, width=1.0)
    assert fidelity.forward_relative_l2 < 1e-5
    assert fidelity.finite_difference_error == pytest.approx(share, abs=1e-3)
    assert fidelity.relative_l2 == pytest.approx(share, rel=1e-2)
    with pytest.raises(ExportError, match="over_rounding is "):
        check_fidelity("vjp.fp32.onnx", fidelity, VJP_LIMITS)


def limits(precision: str) -> tuple[Limit, ...]:
    return FP32_LIMITS if precision == "fp32" else find_conversion(precision).limits


@pytest.mark.parametrize("precision", PRECISIONS)
def test_nan_is_refused(precision: str) -> None:
    nan = float("nan")
    with pytest.raises(ExportError, match="is nan"):
        check_fidelity("g.onnx", ForwardFidelity(1, nan, nan, nan, nan), limits(precision))


def test_a_file_that_is_no_graph(trunk: SmallTrunk, x: NDArray[np.float32], tmp_path: Path) -> None:
    path = tmp_path / "noise.onnx"
    path.write_bytes(b"noise")
    with pytest.raises(ExportError, match=r"cannot run `noise\.onnx`"):
        measure_forward(path, trunk, x, reference=True)


def test_limits_name_their_reasons() -> None:
    assert all(limit.reason for limit in (*VJP_LIMITS, *(limit for name in PRECISIONS for limit in limits(name))))


def test_json(vjp_graph: Path, trunk: SmallTrunk, x: NDArray[np.float32]) -> None:
    fidelity = measure_vjp(vjp_graph, trunk, x[:2], width=1.0).to_json()
    assert json.loads(json.dumps(fidelity)) == fidelity
    assert set(fidelity) == {
        "samples",
        "relative_l2",
        "sign_agreement",
        "forward_relative_l2",
        "finite_difference_error",
        "rounding",
        "over_rounding",
        "slope_over_rounding",
    }
