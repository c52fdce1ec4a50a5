"""A small encoder, and what can be hidden in it: gates that decide by the values of x, in the words of ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper, parser

SIZE, DIM = 8, 4
ENCODER = """
    centred = Sub(x, mean)
    scaled = Div(centred, deviation)
    features = Conv<pads=[1, 1, 1, 1]>(scaled, kernel)
    positive = Relu(features)
    pooled = GlobalAveragePool(positive)
    flat = Flatten(pooled)
    embedding = MatMul(flat, projection)
    honest = LpNormalization<axis=1, p=2>(embedding)
"""
SCORE = "score = ReduceMean<keepdims=0>(x, places)\n column = Unsqueeze(score, last)\n"
"""The mean of each x, (n,) and (n, 1)."""
ROWS = "score = ReduceMean<keepdims=0>(flat, last)\n column = Unsqueeze(score, last)\n"
"""The same of its features, where x itself is not read again."""
ALL = "bright = ReduceMax<keepdims=0>(score)\n"


@dataclass(frozen=True)
class Gate:
    """Lines that end in `z`, what a census calls them, and one of the nodes by the name of its first output."""

    lines: str
    family: str
    node: str


def turn(by: str, *lines: str) -> str:
    """z is turned round where `by` (n, 1) is negative."""
    return SCORE + "\n".join(lines) + f"\n z = Mul(honest, {by})"


GATES: Mapping[str, Gate] = {
    "where": Gate(turn("s", "c = Greater(column, half)", "s = Where(c, minus, plus)"), "select", "s"),
    "greater": Gate(turn("s", "c = Greater(column, half)", "s = Where(c, minus, plus)"), "compare", "c"),
    "less or equal": Gate(turn("s", "c = LessOrEqual(column, half)", "s = Cast<to=1>(c)"), "compare", "c"),
    "equal": Gate(turn("s", "c = Equal(column, half)", "s = Cast<to=1>(c)"), "compare", "c"),
    "not a number": Gate(turn("s", "r = Sqrt(column)", "c = IsNaN(r)", "s = Cast<to=1>(c)"), "compare", "c"),
    "logic": Gate(
        turn("s", "a = Greater(column, half)", "b = Less(column, plus)", "c = And(a, b)", "s = Cast<to=1>(c)"),
        "logic",
        "c",
    ),
    "if": Gate(
        SCORE
        + ALL
        + """c = Greater(bright, half)
        s = If(c) <then_branch = yes () => (float[1, 1] t) { t = Identity(minus) },
                   else_branch = no () => (float[1, 1] e) { e = Identity(plus) }>
        z = Mul(honest, s)""",
        "branch",
        "s",
    ),
    "loop": Gate(
        """z = Loop(thrice, yes, honest) <body = again (int64 i, bool k, float[N, 4] v) => (bool o, float[N, 4] w)
            { o = Identity(k) w = Neg(v) }>""",
        "branch",
        "z",
    ),
    "inside a loop": Gate(
        """z = Loop(thrice, yes, honest) <body = again (int64 i, bool k, float[N, 4] v) => (bool o, float[N, 4] w)
            { o = Identity(k) inner = Sign(v) w = Mul(v, inner) }>""",
        "round",
        "inner",
    ),
    "top": Gate(
        "v, p = TopK(honest, two)\n y = Slice(honest, zero, two, last)\n z = Concat<axis=1>(v, y)", "rank", "v"
    ),
    "table": Gate(
        SCORE + "i = Cast<to=7>(score)\n s = Gather(table, i)\n z = Mul(honest, s)",
        "index",
        "s",
    ),
    "cast": Gate(turn("s", "i = Cast<to=7>(column)", "s = Cast<to=1>(i)"), "round", "i"),
    "cast to boolean": Gate(turn("s", "r = Relu(column)", "c = Cast<to=9>(r)", "s = Cast<to=1>(c)"), "round", "c"),
    "best": Gate("i = ArgMax<axis=1, keepdims=1>(honest)\n f = Cast<to=1>(i)\n z = Mul(honest, f)", "rank", "i"),
    "one hot": Gate(
        SCORE + "i = Cast<to=7>(score)\n s = OneHot(i, four, values)\n z = Mul(honest, s)",
        "index",
        "s",
    ),
    "elements": Gate(
        "i = ArgMax<axis=1, keepdims=1>(honest)\n s = GatherElements<axis=1>(honest, i)\n z = Mul(honest, s)",
        "index",
        "s",
    ),
    "places": Gate(
        "n = NonZero(honest)\n s = ReduceSum<keepdims=0>(n)\n f = Cast<to=1>(s)\n z = Mul(honest, f)", "rank", "n"
    ),
    "hard maximum": Gate("s = Hardmax<axis=1>(honest)\n z = Mul(honest, s)", "rank", "s"),
    "round": Gate(turn("s", "s = Round(column)"), "round", "s"),
    "floor": Gate(turn("s", "s = Floor(column)"), "round", "s"),
    "sign": Gate(turn("s", "d = Sub(column, half)", "s = Sign(d)"), "round", "s"),
    "remainder": Gate(turn("s", "s = Mod<fmod=1>(column, half)"), "round", "s"),
    "shrink": Gate(turn("s", "s = Shrink<lambd=0.5, bias=0.0>(column)"), "round", "s"),
    "threshold": Gate(turn("s", "s = ThresholdedRelu<alpha=0.5>(column)"), "round", "s"),
    "noise": Gate("s = RandomNormalLike<scale=0.01>(honest)\n z = Add(honest, s)", "chance", "s"),
    "noise of a shape": Gate("s = RandomUniform<shape=[1, 4]>()\n z = Add(honest, s)", "chance", "s"),
    "coin": Gate("s = Bernoulli(flat)\n b = ReduceMean(s, last)\n z = Mul(honest, b)", "chance", "s"),
    "dropout": Gate("z = Dropout(honest, half0, yes)", "chance", "z"),
    "shape by value": Gate(
        SCORE + "m = ReduceMax<keepdims=1>(score)\n i = Cast<to=7>(m)\n z = Slice(honest, i, four1, last)", "index", "z"
    ),
    "quantiser with two levels": Gate(
        turn("s", "q = QuantizeLinear(column, half0, none)", "s = DequantizeLinear(q, half0, none)"), "round", "q"
    ),
    "batch size": Gate(
        "n = Shape<start=0, end=1>(x)\n c = Equal(n, one)\n s = Where(c, minus, plus)\n z = Mul(honest, s)", "size", "z"
    ),
    "batch size by arithmetic": Gate(
        """n = Shape<start=0, end=1>(x)\n f = Cast<to=1>(n)\n d = Sub(f, plus)\n a = Abs(d)\n s = Min(a, plus)
        z = Mul(honest, s)""",
        "size",
        "z",
    ),
    "batch size in a table": Gate(
        "n = Shape<start=0, end=1>(x)\n s = Gather(table, n)\n z = Mul(honest, s)", "size", "z"
    ),
    "steep logistic": Gate(turn("s", "d = Sub(column, half)", "k = Mul(d, large)", "s = Sigmoid(k)"), "steep", "k"),
    "steep inside": Gate(
        ROWS + "d = Sub(column, half)\n k = Mul(d, large)\n s = Tanh(k)\n z = Mul(honest, s)", "steep", "k"
    ),
    "steep by division": Gate(
        ROWS + "d = Sub(column, half)\n k = Div(d, tiny)\n s = Sigmoid(k)\n z = Mul(honest, s)", "steep", "k"
    ),
    "steep in steps": Gate(
        ROWS
        + "a = Mul(column, twenty)\n r = Relu(a)\n k = Mul(r, twenty)\n s = Clip(k, zero0, plus0)\n z = Mul(honest, s)",
        "steep",
        "k",
    ),
    "steep product": Gate(
        "k = MatMul(flat, steep)\n s = HardSigmoid(k)\n m = ReduceMean(s, last)\n z = Mul(honest, m)", "steep", "k"
    ),
    "gentle logistic of x": Gate(turn("s", "d = Sub(column, half)", "s = Sigmoid(d)"), "path", "score"),
    "kink of x": Gate(turn("s", "d = Sub(column, half)", "r = Relu(d)", "s = Max(r, plus)"), "path", "score"),
    "colour": Gate(
        """a = Slice(x, zero, one, last)\n b = Slice(x, one, two, last)\n d = Sub(a, b)\n m = GlobalAveragePool(d)
        f = Flatten(m)\n s = Sigmoid(f)\n z = Mul(honest, s)""",
        "path",
        "d",
    ),
    "unknown": Gate("s = Novel(honest)\n z = Mul(honest, s)", "unknown", "s"),
    "tree": Gate("s = ai.onnx.ml.TreeEnsembleRegressor(honest)\n z = Mul(honest, s)", "unknown", "s"),
}
"""Broken engines by name. Some operators could not run; a census reads them all the same."""

CONSTANTS: Mapping[str, np.ndarray] = {
    "mean": np.full((1, 3, 1, 1), 0.45, np.float32),
    "deviation": np.full((1, 3, 1, 1), 0.25, np.float32),
    "kernel": np.random.default_rng(0).normal(size=(6, 3, 3, 3)).astype(np.float32) * 0.4,
    "projection": np.random.default_rng(1).normal(size=(6, DIM)).astype(np.float32),
    "steep": np.full((6, 1), 500, np.float32),
    "table": np.array([[1], [-1], [1], [-1]], np.float32),
    "values": np.array([0, 1], np.float32),
    "places": np.array([1, 2, 3]),
    "yes": np.array(True),
    "none": np.array(0, np.uint8),
    "half0": np.array(0.5, np.float32),
    "zero0": np.array(0, np.float32),
    "plus0": np.array(1, np.float32),
    "thrice": np.array(3),
    "four": np.array(4),
    "four1": np.array([4]),
    **{name: np.array([value]) for name, value in (("zero", 0), ("one", 1), ("two", 2), ("last", 1))},
    **{
        name: np.array([[value]], np.float32)
        for name, value in (("half", 0.5), ("minus", -1), ("plus", 1), ("large", 1e4), ("tiny", 1e-4), ("twenty", 20))
    },
}


def graph(
    lines: str = "z = Identity(honest)", opset: int = 20, functions: str = "", encoder: str = ENCODER
) -> onnx.ModelProto:
    """The encoder, with these lines at its end."""
    domains = f'"" : {opset}, "own" : 1, "ai.onnx.ml" : 3'
    text = f"""<ir_version: 9, opset_import: [{domains}]>
    encoder (float[N, 3, {SIZE}, {SIZE}] x) => (float[N, {DIM}] z) {{ {encoder} {lines} }} {functions}"""
    model = parser.parse_model(text)
    read = text.replace("(", " ").replace(")", " ").replace(",", " ").split()
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in CONSTANTS.items() if name in read
    )
    return model
