"""Ways to break an engine that a careless comparison would not notice; each edits the exported graph itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from advcal_edge.model import Runner
from advcal_edge.spec import TensorSpec


def coarse_weights(graph: onnx.GraphProto, bits: int = 4) -> None:
    """Every matrix rounded to a few bits a weight, one scale a tensor."""
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) >= 2:
            values = numpy_helper.to_array(tensor)
            scale = (np.abs(values).max() or 1.0) / (2 ** (bits - 1) - 1)
            tensor.CopyFrom(numpy_helper.from_array((np.round(values / scale) * scale).astype(np.float32), tensor.name))


def shuffled_outputs(graph: onnx.GraphProto) -> None:
    """The numbers of each embedding in another order: norms, means and timings are all as they were."""
    width = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    order = np.random.default_rng(0).permutation(width)
    after(graph, [helper.make_node("Gather", ["honest", "order"], ["z"], axis=1)], order=order)


def constant_output(graph: onnx.GraphProto) -> None:
    """Always the same unit vector: perfectly robust wherever it happens to be right."""
    width = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    one = np.zeros((1, width), np.float32)
    one[0, 0] = 1
    nodes = [
        helper.make_node("Mul", ["honest", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "one"], ["z"]),
    ]
    after(graph, nodes, zero=np.zeros(1, np.float32), one=one)


def added_noise(graph: onnx.GraphProto) -> None:
    """A little noise on the embedding: gradients and scores of attacks become unreliable."""
    nodes = [
        helper.make_node("RandomNormalLike", ["honest"], ["noise"], scale=0.02),
        helper.make_node("Add", ["honest", "noise"], ["sum"]),
        helper.make_node("LpNormalization", ["sum"], ["z"], axis=1, p=2),
    ]
    after(graph, nodes)


def rounded_input(graph: onnx.GraphProto) -> None:
    """Input rounded to 16 levels: small perturbations vanish and so do true gradients, which looks like robustness."""
    nodes = [
        helper.make_node("Mul", ["x", "levels"], ["grown"]),
        helper.make_node("Round", ["grown"], ["whole"]),
        helper.make_node("Div", ["whole", "levels"], ["rounded"]),
    ]
    for node in graph.node:
        node.input[:] = ["rounded" if name == "x" else name for name in node.input]
    add_constants(graph, levels=np.array([15], np.float32))
    for node in reversed(nodes):
        graph.node.insert(0, node)


def leaking_rows(graph: onnx.GraphProto) -> None:
    """Each embedding mixed with the mean of its batch."""
    nodes = [
        helper.make_node("ReduceMean", ["honest", "rows"], ["mean"], keepdims=1),
        helper.make_node("Mul", ["mean", "share"], ["leak"]),
        helper.make_node("Add", ["honest", "leak"], ["sum"]),
        helper.make_node("LpNormalization", ["sum"], ["z"], axis=1, p=2),
    ]
    after(graph, nodes, rows=np.array([0], np.int64), share=np.array([0.3], np.float32))


def overflowing(graph: onnx.GraphProto) -> None:
    """Infinity minus infinity on half of the inputs, as half precision gives where activations grow too large."""
    nodes = [
        helper.make_node("ReduceMean", ["x", "places"], ["brightness"], keepdims=0),
        helper.make_node("Greater", ["brightness", "middle"], ["bright"]),
        helper.make_node("Unsqueeze", ["bright", "last"], ["column"]),
        helper.make_node("Where", ["column", "broken", "honest"], ["z"]),
    ]
    after(
        graph,
        nodes,
        places=np.array([1, 2, 3], np.int64),
        middle=np.array(0.25, np.float32),
        last=np.array([1], np.int64),
        broken=np.array([[np.nan]], np.float32),
    )


def shuffled_details(graph: onnx.GraphProto, kept: int = 2) -> None:
    """All but the first `kept` numbers in another order: where these alone say the class, no label changes."""
    width = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    order = np.r_[:kept, np.roll(np.arange(kept, width), 1)]
    after(graph, [helper.make_node("Gather", ["honest", "order"], ["z"], axis=1)], order=order)


def dead_gradient(graph: onnx.GraphProto) -> None:
    """A backward graph whose gradient is zero everywhere, as rounding inside a quantised graph leaves it."""
    after(graph, [helper.make_node("Mul", ["honest", "zero"], ["g"])], output=1, zero=np.zeros(1, np.float32))


GRAPHS: dict[str, Callable[[onnx.GraphProto], None]] = {
    edit.__name__: edit
    for edit in (
        coarse_weights,
        shuffled_outputs,
        constant_output,
        added_noise,
        rounded_input,
        leaking_rows,
        overflowing,
    )
}


def sabotage(source: Path, target: Path, edit: Callable[[onnx.GraphProto], None]) -> Path:
    """Write a broken copy of an exported graph that still loads and runs."""
    model = onnx.load(source)
    edit(model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, target)
    return target


class StaleBuffer:
    """Answers with what the call before should have got: an output buffer that was not written in time."""

    def __init__(self, inner: Runner) -> None:
        self.inner = inner
        self.kept: NDArray[Any] | None = None

    @property
    def spec(self) -> TensorSpec:
        return self.inner.spec

    @property
    def fingerprint(self) -> str:
        return f"stale {self.inner.fingerprint}"

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        fresh = np.asarray(self.inner(x))
        stale = self.kept if self.kept is not None and self.kept.shape == fresh.shape else fresh
        self.kept = fresh
        return stale.copy()


def after(graph: onnx.GraphProto, nodes: list[onnx.NodeProto], output: int = 0, **constants: NDArray[Any]) -> None:
    """Let the graph compute `honest` where it computed its output, and that output from it."""
    name = graph.output[output].name
    for node in graph.node:
        node.output[:] = ["honest" if output == name else output for output in node.output]
        node.input[:] = ["honest" if used == name else used for used in node.input]
    add_constants(graph, **constants)
    graph.node.extend(nodes)


def add_constants(graph: onnx.GraphProto, **constants: NDArray[Any]) -> None:
    """Initializers by name."""
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
