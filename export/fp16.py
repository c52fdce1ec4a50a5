"""The fp16 and bf16 graphs: matrix products in half precision, sensitive parts in fp32, casts between them.

TensorRT since 11 takes precision only from the types in the graph, so it is decided here, for every runtime. It is an
allow-list: converters with a block-list round the physical input to fp16 before it is normalised.

An emulation is an fp32 graph that rounds where such a graph rounds, for machines without products of its type. Matrix
units multiply half precision numbers exactly and sum them in fp32; the sum is rounded once, when it is stored. The
emulation does the same: every node in half precision is computed in fp32 on rounded inputs, and its output is rounded.
ONNX Runtime has no bfloat16 products on a CPU. Its fp16 ones on x86 are not conclusive: it computes in fp32 and skips
the rounding between neighbours, so that values that overflow on a GPU do not overflow there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from advcal_edge.errors import NothingReducedError
from advcal_edge.export.conversion import Conversion, Limit
from advcal_edge.export.graph_file import find_opset, write_graph
from advcal_edge.export.graph_regions import ELEMENTWISE, MATRIX_PRODUCTS, MOVES, constants, products
from advcal_edge.export.precision import kept_nodes

ELEMENTS: Mapping[str, int] = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
"""ONNX's element type of each precision made by casting."""


def convert_cast(
    source: Path, target: Path, precision: str, further: Collection[str] = (), step: str | None = None
) -> None:
    """Read an fp32 forward graph and write the mixed one; its inputs and outputs stay float32.

    `precision` is fp16 or bf16. `further` names parts of the policy or single nodes that also stay fp32, at a `step` of
    the precision fallback.

    Raises:
        ExportError: the graph has no matrix product to convert, or the result is not valid ONNX.
    """
    model = onnx.load(str(source))
    # without external weights: type inference does not need them, and is limited to 2 GB
    floats = float_values(onnx.load(str(source), load_external_data=False))
    half = choose_half(model.graph, floats, precision, kept_nodes(model.graph, precision, further))
    if not half & products(model.graph):
        raise NothingReducedError(f"`{source.name}` has no matrix product left to convert to {precision}")
    insert_casts(model.graph, half, floats, precision)
    write_graph(model, target, precision=precision, kind="forward", opset=find_opset(model), step=step)


def conversion(precision: str, limit: Limit) -> Conversion:
    """The conversion to a precision made by casting, which needs no calibration samples."""
    return Conversion(
        convert=lambda source, target, calibration, further, step: convert_cast(
            source, target, precision, further, step
        ),
        limits=(limit,),
        emulate=lambda source, target: emulate(source, target, precision),
    )


FP16 = conversion(
    "fp16", Limit("relative_l2", 5e-2, "11 bits give about 2e-4; an overflow or a lost norm gives 0.1 and more")
)
BF16 = conversion(
    "bf16", Limit("relative_l2", 0.1, "8 bits give 2e-3 on bindlite, depth adds to it; a lost part gives more")
)


def float_values(model: onnx.ModelProto) -> frozenset[str]:
    """Names of all float32 values, constants included."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    names = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return frozenset(names | {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT})


def choose_half(graph: onnx.GraphProto, floats: frozenset[str], precision: str, kept: frozenset[str]) -> frozenset[str]:
    """Names of the nodes that run in half precision: products, and what follows them, unless `kept` by the policy."""
    fixed = constants(graph)
    dtype = numpy_type(precision)
    too_large = {tensor.name for tensor in graph.initializer if tensor.name in floats and overflows(tensor, dtype)}
    half_values: set[str] = set()
    half_nodes: set[str] = set()
    for node in graph.node:
        if node.name in kept or not too_large.isdisjoint(node.input):
            continue
        computed = [name for name in node.input if name in floats and name not in fixed]
        follows = bool(computed) and half_values.issuperset(computed)
        if node.op_type in MATRIX_PRODUCTS or (follows and node.op_type in MOVES | ELEMENTWISE):
            half_nodes.add(node.name)
            half_values.update(node.output)
    return frozenset(half_nodes)


def numpy_type(precision: str) -> np.dtype[Any]:
    """The numpy element type of a precision, from the types that onnx provides."""
    return helper.tensor_dtype_to_np_dtype(ELEMENTS[precision])


def overflows(tensor: TensorProto, dtype: np.dtype[Any]) -> bool:
    """Would a finite constant become infinite in another type?"""
    values: NDArray[np.float32] = numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        cast = values[np.isfinite(values)].astype(dtype).astype(np.float32)
    return not bool(np.isfinite(cast).all())


def insert_casts(graph: onnx.GraphProto, half: frozenset[str], floats: frozenset[str], precision: str) -> None:
    """Cast every float that crosses between half and fp32 nodes once, in place; constants are converted instead."""
    element, dtype = ELEMENTS[precision], numpy_type(precision)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    half_values = {name for node in graph.node if node.name in half for name in node.output}
    converted: dict[tuple[str, int], str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        wanted = element if node.name in half else TensorProto.FLOAT
        for i, name in enumerate(node.input):
            present = element if name in half_values else TensorProto.FLOAT
            if name not in floats or present == wanted:
                continue
            if (name, wanted) not in converted:
                label = f"{name}.{precision if wanted == element else 'fp32'}"
                converted[name, wanted] = label
                if name in weights:
                    values = numpy_helper.to_array(weights[name]).astype(dtype)
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


def emulate(source: Path, target: Path, precision: str) -> None:
    """Write the emulation of the graph at `source`, in bf16 or fp16; its inputs and outputs are the same.

    The file is for measurement only: it has no labels and is not an engine.
    """
    model = onnx.load(str(source))
    graph, element = model.graph, ELEMENTS[precision]
    rounded = {tensor.name for tensor in graph.initializer if tensor.data_type == element}
    for tensor in graph.initializer:
        if tensor.data_type == element:
            values = numpy_helper.to_array(tensor).astype(np.float32)  # exact: fp32 holds all values of both types
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "Cast":
            nodes += emulated_cast(node, rounded, element)
            continue
        nodes.append(node)
        if rounded.isdisjoint(node.input):
            continue
        for i, name in enumerate(node.output):
            rounded.add(name)
            if node.op_type not in MOVES:  # moved values are rounded already
                node.output[i] = f"{name}.exact"
                nodes += rounding(f"{name}.exact", name, element)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    data = f"{target.name}.data"
    onnx.save_model(model, str(target), save_as_external_data=model.ByteSize() > 2**30, location=data)


def emulated_cast(node: onnx.NodeProto, rounded: set[str], element: int) -> list[onnx.NodeProto]:
    """A cast to half precision as a rounding, a cast from it as nothing, any other unchanged."""
    to = next(attribute.i for attribute in node.attribute if attribute.name == "to")
    if to == element:
        rounded.update(node.output)
        return rounding(node.input[0], node.output[0], element)
    if node.input[0] in rounded and to == TensorProto.FLOAT:
        return [helper.make_node("Identity", list(node.input), list(node.output), name=node.name)]
    return [node]


def rounding(value: str, name: str, element: int) -> list[onnx.NodeProto]:
    """Two casts that round `value`, to nearest and ties to even, under `name`."""
    return [
        helper.make_node("Cast", [value], [f"{name}.rounded"], name=f"round.{name}", to=element),
        helper.make_node("Cast", [f"{name}.rounded"], [name], name=f"widen.{name}", to=TensorProto.FLOAT),
    ]
