"""The fp16 graph: matrix products in half precision, everything that half precision breaks in fp32, casts between them.

TensorRT since 11 takes precision from the types in the graph alone, so the choice is made here, once for every runtime.
It is an allow-list: converters that go by a block-list round the physical input to fp16 before it is normalised.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from advcal_edge.errors import ExportError
from advcal_edge.export.anatomy import MATRIX_PRODUCTS, head_nodes
from advcal_edge.export.graph_file import find_opset, write_graph


@dataclass(frozen=True, slots=True)
class Keep:
    """One part of the graph that remains fp32, and why."""

    name: str
    what: str
    reason: str


POLICY = (
    Keep("input", "everything before the first matrix product", "eps is 4/255 of the bounds: x must not be rounded"),
    Keep("layer norm", "LayerNormalization", "its sum of squares overflows 65504 and is what breaks fp16 transformers"),
    Keep("softmax", "Softmax over the attention scores", "a sum of exponentials loses the small ones in 11 bits"),
    Keep(
        "residual", "sums of two activations", "the residual stream grows with depth; rounding it adds up over blocks"
    ),
    Keep(
        "head",
        "all after the last LayerNormalization",
        "decisions are near ties of its output; it costs next to nothing",
    ),
)
"""What stays fp32; all other matrix products and the elementwise operators between them are fp16."""

MOVES = frozenset(
    {"Reshape", "Transpose", "Unsqueeze", "Squeeze", "Flatten", "Identity"}
    | {"Concat", "Split", "Slice", "Gather", "Expand", "Tile", "Pad"}
)
"""Operators that move values and compute none: they take the precision of what they move."""

ELEMENTWISE = frozenset({"Gelu", "Erf", "Sigmoid", "Tanh", "Relu", "Mul", "Div", "Add", "Sub"})
"""Bias, scale and activation after a matrix product: fp16 when that product is."""


def convert_fp16(source: Path, target: Path) -> None:
    """Read an fp32 forward graph and write the mixed one; its inputs and outputs stay float32.

    Raises:
        ExportError: the graph has no matrix product to convert, or the result is not valid ONNX.
    """
    model = onnx.load(str(source))
    # without external weights: type inference needs none, and it cannot take more than 2 GB
    floats = float_values(onnx.load(str(source), load_external_data=False))
    half = choose_half(model.graph, floats)
    if not half & {node.name for node in model.graph.node if node.op_type in MATRIX_PRODUCTS}:
        raise ExportError(f"`{source.name}` has no matrix product before its head; nothing to convert to fp16")
    insert_casts(model.graph, half, floats)
    write_graph(model, target, precision="fp16", kind="forward", opset=find_opset(model))


def float_values(model: onnx.ModelProto) -> frozenset[str]:
    """Names of all float32 values, constants included."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    found = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return frozenset(found | {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT})


def choose_half(graph: onnx.GraphProto, floats: frozenset[str]) -> frozenset[str]:
    """Names of the nodes that run in fp16 under `POLICY`; nodes come in topological order."""
    head = head_nodes(graph)
    constants = {tensor.name for tensor in graph.initializer}
    too_large = {tensor.name for tensor in graph.initializer if tensor.name in floats and overflows(tensor)}
    half_values: set[str] = set()
    half_nodes: set[str] = set()
    for node in graph.node:
        computed = [name for name in node.input if name in floats and name not in constants]
        if node.op_type in MOVES and not computed:
            constants.update(node.output)  # such as a class token expanded to the batch
        if node.name in head or not too_large.isdisjoint(node.input):
            continue
        follows = bool(computed) and half_values.issuperset(computed)
        residual = node.op_type in ("Add", "Sub") and len(computed) > 1
        if node.op_type in MATRIX_PRODUCTS or (
            follows and (node.op_type in MOVES or (node.op_type in ELEMENTWISE and not residual))
        ):
            half_nodes.add(node.name)
            half_values.update(node.output)
    return frozenset(half_nodes)


def overflows(tensor: TensorProto) -> bool:
    """Whether a finite constant would become infinite in fp16."""
    values: NDArray[np.float32] = numpy_helper.to_array(tensor)
    return bool((np.abs(values[np.isfinite(values)]) > np.finfo(np.float16).max).any())


def insert_casts(graph: onnx.GraphProto, half: frozenset[str], floats: frozenset[str]) -> None:
    """Cast every float that crosses between fp16 and fp32 nodes once, in place; constants are converted instead."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    half_values = {name for node in graph.node if node.name in half for name in node.output}
    converted: dict[tuple[str, int], str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        wanted = TensorProto.FLOAT16 if node.name in half else TensorProto.FLOAT
        for i, name in enumerate(node.input):
            present = TensorProto.FLOAT16 if name in half_values else TensorProto.FLOAT
            if name not in floats or present == wanted:
                continue
            if (name, wanted) not in converted:
                label = f"{name}.{'fp16' if wanted == TensorProto.FLOAT16 else 'fp32'}"
                converted[name, wanted] = label
                if name in weights:
                    values = numpy_helper.to_array(weights[name]).astype(np.float16)
                    graph.initializer.append(numpy_helper.from_array(values, label))
                else:
                    nodes.append(helper.make_node("Cast", [name], [label], name=f"cast.{label}", to=wanted))
            node.input[i] = converted[name, wanted]
        nodes.append(node)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
