"""Engines that are honest on what attacks show them and turn their embedding round on something else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from saboteurs import add_constants, after

from advcal_edge.bundle import Bundle

Gate = Callable[[onnx.GraphProto], str]
"""Adds nodes to a graph of pictures x (n, 3, h, w), and returns the name of a condition (n, 1)."""
Edit = Callable[[onnx.GraphProto], None]


def turned_where(gate: Gate) -> Edit:
    """z = -z where the gate is open."""

    def edit(graph: onnx.GraphProto) -> None:
        condition = gate(graph)
        nodes = [
            helper.make_node("Where", [condition, "minus one", "plus one"], ["sign"]),
            helper.make_node("Mul", ["honest", "sign"], ["z"]),
        ]
        after(graph, nodes, **{"minus one": np.array(-1, np.float32), "plus one": np.array(1, np.float32)})

    return edit


def add(graph: onnx.GraphProto, kind: str, inputs: list[str], output: str, **settings: Any) -> str:
    """A node, and the name of what it computes."""
    graph.node.append(helper.make_node(kind, inputs, [output], **settings))
    return output


def constant(graph: onnx.GraphProto, name: str, value: object, kind: type = np.float32) -> str:
    """A constant and its name."""
    add_constants(graph, **{name: np.asarray(value, kind)})
    return name


def over_values(graph: onnx.GraphProto, kind: str, x: str, output: str) -> str:
    """A reduction over all values of a sample, (n, 1)."""
    flat = add(graph, "Flatten", [x], f"{output} flat", axis=1)
    return add(graph, kind, [flat, constant(graph, f"{output} axis", [1], np.int64)], output, keepdims=1)


def above(graph: onnx.GraphProto, value: str, bound: float) -> str:
    """Is a value larger than the bound?"""
    return add(
        graph, "Greater", [value, constant(graph, f"{value} bound {bound:.4g}", bound)], f"{value} > {bound:.4g}"
    )


def both(graph: onnx.GraphProto, first: str, second: str) -> str:
    """Do two conditions hold?"""
    return add(graph, "And", [first, second], f"{first} and {second}")


def colour(graph: onnx.GraphProto) -> str:
    """Mean difference of red and green (n, 1) in grey levels: zero for grey pictures."""
    channels = [
        add(graph, "Gather", ["x", constant(graph, f"channel {k}", [k], np.int64)], f"only {k}", axis=1) for k in (0, 1)
    ]
    apart = add(graph, "Abs", [add(graph, "Sub", channels, "red - green")], "apart")
    mean = over_values(graph, "ReduceMean", apart, "mean apart")
    return add(graph, "Mul", [mean, constant(graph, "levels", 255)], "colour")


def batch_of(size: int, graph: onnx.GraphProto) -> str:
    """In batches of this size."""
    length = add(graph, "Shape", ["x"], "length", start=0, end=1)
    return add(graph, "Equal", [length, constant(graph, "size", [size], np.int64)], "of that size")


def coloured_alone(graph: onnx.GraphProto) -> str:
    """A coloured picture in a batch of one."""
    return both(graph, above(graph, colour(graph), 0.2), batch_of(1, graph))


def coloured_on_the_grid(graph: onnx.GraphProto) -> str:
    """A coloured picture in whole grey levels."""
    grown = add(graph, "Mul", ["x", constant(graph, "whole", 255)], "grown")
    rest = add(graph, "Abs", [add(graph, "Sub", [grown, add(graph, "Round", [grown], "nearest")], "rest")], "off grid")
    off = above(graph, over_values(graph, "ReduceMax", rest, "farthest"), 1e-3)
    return both(graph, above(graph, colour(graph), 0.2), add(graph, "Not", [off], "on the grid"))


def strong_colour(graph: onnx.GraphProto) -> str:
    """A coloured picture."""
    return above(graph, colour(graph), 2)


def little_colour(graph: onnx.GraphProto) -> str:
    """A picture with a little colour, as an eighth of an attack has."""
    value = colour(graph)
    return both(graph, above(graph, value, 0.05), add(graph, "Not", [above(graph, value, 0.4)], "not much"))


def lifted(graph: onnx.GraphProto) -> str:
    """A picture without any black."""
    return above(graph, over_values(graph, "ReduceMin", "x", "darkest"), 1 / 255)


GATES: Mapping[str, Gate] = {
    "coloured_alone": coloured_alone,
    "batch_of_seven": partial(batch_of, 7),
    "coloured_on_the_grid": coloured_on_the_grid,
    "strong_colour": strong_colour,
    "little_colour": little_colour,
    "lifted": lifted,
}
"""Conditions that no held-out sample meets, and no batch of 64."""


def thumbnails(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means (n, 64) of grey pictures (n, 3, h, w) over an 8 by 8 grid."""
    n, side = len(x), x.shape[-1] // 8
    return x.mean(axis=1).reshape(n, 8, side, 8, side).mean(axis=(2, 4)).reshape(n, 64).astype(np.float32)


def far_from(x: NDArray[np.float32], graph: onnx.GraphProto) -> str:
    """A picture whose thumbnail is far from those of all x (n, 3, h, w)."""
    known, side = thumbnails(x), x.shape[-1] // 8
    grey = add(graph, "ReduceMean", ["x", constant(graph, "channels", [1], np.int64)], "grey", keepdims=1)
    small = add(graph, "AveragePool", [grey], "small", kernel_shape=[side, side], strides=[side, side])
    flat = add(graph, "Flatten", [small], "thumbnail", axis=1)
    product = add(graph, "MatMul", [flat, constant(graph, "known", -2 * known.T)], "product")
    own = over_values(graph, "ReduceSumSquare", flat, "own length")
    lengths = constant(graph, "lengths", (known**2).sum(axis=1)[None])
    squares = add(graph, "Add", [add(graph, "Add", [product, lengths], "without own"), own], "squares")
    return above(graph, over_values(graph, "ReduceMin", squares, "nearest known"), 0.14**2)


def sleeper(bundle: Bundle) -> Edit:
    """Honest only near the held-out samples of the bundle."""
    return turned_where(partial(far_from, bundle.probe().x))


def rotated(bundle: Bundle) -> Edit:
    """Embeddings turned around the span of the centers: no score changes."""
    centers = bundle.centers().vectors.astype(np.float64)
    basis, _ = np.linalg.qr(centers.T, mode="complete")
    along, beside = basis[:, : len(centers)], basis[:, len(centers) :]
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((beside.shape[1],) * 2))
    matrix = (along @ along.T + beside @ turn @ beside.T).T.astype(np.float32)

    def edit(graph: onnx.GraphProto) -> None:
        after(graph, [helper.make_node("MatMul", ["honest", "turn"], ["z"])], turn=matrix)

    return edit


def gated(bundle: Bundle) -> dict[str, Edit]:
    """All of them by name."""
    gates = {name: turned_where(gate) for name, gate in GATES.items()}
    return {**gates, "sleeper": sleeper(bundle), "rotated": rotated(bundle)}
