"""The fp8 graph: E4M3 Q/DQ pairs on the same products and from the same calibration run as int8.

E4M3 has a sign, four bits of exponent and three of mantissa, no infinity, and ends at 448 (arXiv:2209.05433). Small
values keep their digits, which int8 loses for activations with outliers. ONNX Runtime computes such a graph in fp32 on
values rounded to fp8 and back, on any CPU; TensorRT has fp8 products.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from advcal_edge.export.conversion import Conversion, Limit
from advcal_edge.export.graph_file import find_opset, write_graph
from advcal_edge.export.int8 import quantise
from advcal_edge.export.opset import check_opset

LARGEST = 448.0  # of E4M3; larger values have no code but NaN
INT8_LARGEST = 127.0  # of the symmetric int8 pairs that give the ranges

E4M3 = helper.tensor_dtype_to_np_dtype(TensorProto.FLOAT8E4M3FN)


def convert_fp8(
    source: Path,
    target: Path,
    calibration: NDArray[np.float32],
    further: Collection[str] = (),
    step: str | None = None,
) -> None:
    """Read an fp32 forward graph and write it with E4M3 Q/DQ pairs scaled to `calibration` (n, *spec.shape).

    Each scale is the largest absolute value over 448: of an activation over all samples, of a weight per channel. Zero
    points are 0. `further` names parts of the policy or single nodes that also stay fp32, at a `step` of the
    precision fallback.

    Raises:
        ConfigError: opset 18, which has no float8.
        ExportError: no samples, nothing to quantise, or the quantiser or the ONNX checker rejects the graph.
    """
    opset = find_opset(onnx.load(str(source), load_external_data=False))
    check_opset(opset, ("fp8",))
    model = quantise(source, calibration, "fp8", further)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(str(source)).graph.initializer}
    to_fp8(model.graph, weights)
    write_graph(model, target, precision="fp8", kind="forward", opset=opset, step=step)


FP8 = Conversion(
    convert=lambda source, target, calibration, further, step: convert_fp8(
        source, target, calibration(), further, step
    ),
    limits=(Limit("cosine_mean", 0.9, "4 bits of mantissa lose about as much as int8, outliers less", lower=True),),
)


def to_fp8(graph: onnx.GraphProto, weights: dict[str, NDArray[Any]]) -> None:
    """Replace every symmetric int8 pair of a graph by one of E4M3, in place; `weights` are the unrounded ones by name.

    An activation's range is its int8 scale times 127; a weight is rounded again, from fp32.
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    made: dict[str, NDArray[Any]] = {}
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        value, scale, zero = node.input
        made[zero] = np.zeros(tuple(tensors[zero].dims), E4M3)
        if value in tensors:
            made[scale], made[value] = encode(weights[value.removesuffix("_quantized")], axis_of(node))
        else:
            made[scale] = numpy_helper.to_array(tensors[scale]) * np.float32(INT8_LARGEST / LARGEST)
    for name, array in made.items():
        tensors[name].CopyFrom(numpy_helper.from_array(array, name))


def axis_of(node: onnx.NodeProto) -> int:
    """The channel axis of a Q/DQ node."""
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)


def encode(weight: NDArray[np.float32], axis: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Scales (channels,) and codes of a weight with channels along `axis`; channels close to zero become 0."""
    others = tuple(i for i in range(weight.ndim) if i != axis % weight.ndim)
    wanted = np.abs(weight).max(axis=others) / np.float32(LARGEST)
    scale = np.where(wanted >= np.finfo(np.float32).tiny, wanted, 1.0).astype(np.float32)
    scaled = weight / np.expand_dims(scale, others)
    return scale, np.clip(scaled, -LARGEST, LARGEST).astype(E4M3)
