"""A bf16 or fp16 graph as an fp32 one that rounds where it rounds, for machines without products of that type.

Matrix units multiply half precision numbers exactly and sum them in fp32; the sum is rounded once, when it is stored.
The emulation does the same: every node in half precision is computed in fp32 on rounded inputs, its output is rounded.
ONNX Runtime has no bfloat16 products on a CPU. Its fp16 ones on x86 prove little: it computes in fp32 and leaves out
the rounding between neighbours, so that what overflows on a GPU does not overflow there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from advcal_edge.export.anatomy import MOVES
from advcal_edge.export.casting import ELEMENTS


def emulate(source: Path, target: Path, precision: str) -> None:
    """Write the emulation of the graph at `source`, in bf16 or fp16; its inputs and outputs are the same.

    The file is for measuring and ends with it: it carries no labels and is no engine.
    """
    model = onnx.load(str(source))
    graph, element = model.graph, ELEMENTS[precision]
    rounded = {tensor.name for tensor in graph.initializer if tensor.data_type == element}
    for tensor in graph.initializer:
        if tensor.data_type == element:
            values = numpy_helper.to_array(tensor).astype(np.float32)  # exact: fp32 holds all of either
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
            if node.op_type not in MOVES:  # what is only moved is rounded already
                node.output[i] = f"{name}.exact"
                nodes += rounding(f"{name}.exact", name, element)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    data = f"{target.name}.data"
    onnx.save_model(model, str(target), save_as_external_data=model.ByteSize() > 2**30, location=data)


def emulated_cast(node: onnx.NodeProto, rounded: set[str], element: int) -> list[onnx.NodeProto]:
    """A cast to half precision as a rounding, a cast from it as nothing, any other as it is."""
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
