"""Engines as other programs export them: an exported graph with other names, types, axes and outputs around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

Axes = Sequence[int | str | None]
TYPES: Mapping[str, int] = {
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "uint8": TensorProto.UINT8,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
}


@dataclass
class Surgeon:
    """Puts nodes before `x` and behind `z` of a graph, whose own names all get a prefix."""

    graph: bytes
    before: list[onnx.NodeProto] = field(default_factory=list)
    behind: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    x: str = "own_x"
    z: str = "own_z"

    def give(self, operator: str, *constants: np.ndarray, **attributes: object) -> Surgeon:
        """A node whose output becomes the graph's input: what is given first happens last."""
        name = f"x{len(self.before)}"
        self.before.insert(0, helper.make_node(operator, [name, *self._keep(constants)], [self.x], **attributes))
        self.x = name
        return self

    def take(self, operator: str, *constants: np.ndarray, **attributes: object) -> Surgeon:
        """A node behind the graph's output."""
        name = f"z{len(self.behind)}"
        self.behind.append(helper.make_node(operator, [self.z, *self._keep(constants)], [name], **attributes))
        self.z = name
        return self

    def close(
        self,
        given: tuple[str, str, Axes],
        taken: tuple[str, str, Axes],
        others: Mapping[str, tuple[Sequence[str], str, Axes]] | None = None,
    ) -> bytes:
        """The graph with this input and output by name, type and axes; `others` are outputs by operator and inputs."""
        own = compose.add_prefix(onnx.load_from_string(self.graph), "own_").graph
        ends = [
            helper.make_node("Identity", [given[0]], [self.x]),
            *self.before,
            *own.node,
            *self.behind,
            helper.make_node("Identity", [self.z], [taken[0]]),
        ]
        outputs = [value(*taken)]
        for name, ((operator, *inputs), kind, axes) in (others or {}).items():
            ends.append(helper.make_node(operator, [self.z if one == "z" else one for one in inputs], [name]))
            outputs.append(value(name, kind, axes))
        graph = helper.make_graph(ends, "foreign", [value(*given)], outputs, [*own.initializer, *self.constants])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        return bytes(model.SerializeToString())

    def _keep(self, constants: Sequence[np.ndarray]) -> list[str]:
        names = [f"c{len(self.constants) + k}" for k in range(len(constants))]
        self.constants += [numpy_helper.from_array(one, name) for one, name in zip(constants, names, strict=True)]
        return names


def value(name: str, kind: str, axes: Axes) -> onnx.ValueInfoProto:
    """A declared input or output."""
    return helper.make_tensor_value_info(name, TYPES[kind], list(axes))


def cast(kind: str) -> int:
    """The attribute `to` of a cast."""
    return TYPES[kind]
