"""Graphs that were made to harm: they take `x` and give `z` like the tiny encoder, and do something else besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tiny import Linear

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
OWN = helper.make_opsetid("own", 1)
MAIN = helper.make_opsetid("", 18)


def spoil(
    linear: Linear,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, NDArray[Any]] | None = None,
    functions: Sequence[onnx.FunctionProto] = (),
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """The tiny encoder with `nodes` before it; what they leave in `waste`, a scalar, is added to its input."""
    model = onnx.load_from_string(linear.forward())
    graph = model.graph
    plain = list(graph.node)
    adds = any("waste" in node.output for node in nodes)
    if adds:
        plain[0].input[0] = "spoilt"
    del graph.node[:]
    graph.node.extend([*nodes, *([helper.make_node("Add", ["x", "waste"], ["spoilt"])] if adds else []), *plain])
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in (constants or {}).items())
    model.functions.extend(functions)
    if functions or any(node.domain for node in nodes):
        model.opset_import.append(OWN)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    return model


def looping(linear: Linear, rounds: int, *, seen: bool) -> onnx.ModelProto:
    """A loop of so many rounds, whose number stands in the graph if it is `seen`, else depends on the batch."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["s", "step"], ["t"])],
        "body",
        [info("i", INT64), info("go", BOOL), info("s", FLOAT)],
        [info("on", BOOL), info("t", FLOAT)],
        [numpy_helper.from_array(np.array(0, np.float32), "step")],
    )
    count = [] if seen else [helper.make_node("Shape", ["x"], ["size"], start=0, end=1)]
    count += [] if seen else [helper.make_node("Mul", ["size", "rounds"], ["times"])]
    loop = helper.make_node("Loop", ["rounds" if seen else "times", "", "zero"], ["waste"], body=body)
    return spoil(linear, [*count, loop], {"rounds": np.array([rounds]), "zero": np.array(0, np.float32)})


def hungry(linear: Linear, values: int) -> onnx.ModelProto:
    """An array of so many values a sample."""
    nodes = [
        helper.make_node("Shape", ["x"], ["size"], start=0, end=1),
        helper.make_node("Mul", ["size", "many"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["much"]),
        helper.make_node("ReduceSum", ["much"], ["waste"], keepdims=0),
    ]
    return spoil(linear, nodes, {"many": np.array([values])})


def multiplying(linear: Linear, levels: int, calls: int = 10) -> onnx.ModelProto:
    """Functions that each call the one below so often."""
    functions = []
    for level in range(levels):
        op, domain = (f"F{level - 1}", "own") if level else ("Identity", "")
        nodes = [helper.make_node(op, ["a" if k == 0 else f"b{k}"], [f"b{k + 1}"], domain=domain) for k in range(calls)]
        functions.append(helper.make_function("own", f"F{level}", ["a"], [f"b{calls}"], nodes, [MAIN, OWN]))
    call = helper.make_node(f"F{levels - 1}", ["zero"], ["waste"], domain="own")
    return spoil(linear, [call], {"zero": np.array(0, np.float32)}, functions)


def branching(linear: Linear, levels: int) -> onnx.ModelProto:
    """Branches inside of branches."""
    inner: list[onnx.NodeProto] = [helper.make_node("Identity", ["zero"], ["r0"])]
    for level in range(levels):
        plain = helper.make_graph([helper.make_node("Identity", ["zero"], ["p"])], "plain", [], [info("p", FLOAT)])
        chosen = helper.make_graph(inner, f"g{level}", [], [info(f"r{level}", FLOAT)])
        inner = [helper.make_node("If", ["yes"], [f"r{level + 1}"], then_branch=chosen, else_branch=plain)]
    last = helper.make_node("Identity", [f"r{levels}"], ["waste"])
    return spoil(linear, [*inner, last], {"zero": np.array(0, np.float32), "yes": np.array(True)})


def info(name: str, kind: int) -> onnx.ValueInfoProto:
    """A scalar."""
    return helper.make_tensor_value_info(name, kind, [])
