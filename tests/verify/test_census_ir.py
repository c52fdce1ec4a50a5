"""An OpenVINO IR is read as the operators of ONNX that its layers stand for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from advcal_edge.errors import EngineError
from advcal_edge.runtime.engine_file import EngineFile
from advcal_edge.verify.census.decision import Census
from advcal_edge.verify.census.flow import Flow
from advcal_edge.verify.census.ir import read_ir

Layer = tuple[str, str, Sequence[str], dict[str, str]]
"""Name, type, names of the layers that feed it, and attributes."""
KERNEL = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
HONEST: Sequence[Layer] = (
    ("x", "Parameter", (), {"element_type": "f32"}),
    ("scaled", "Divide", ("x", "deviation"), {}),
    ("features", "Convolution", ("scaled", "kernel"), {}),
    ("size", "ShapeOf", ("features",), {}),
    ("rows", "Gather", ("size", "zero", "zero"), {}),
    ("shape", "Concat", ("rows", "rest"), {}),
    ("flat", "Reshape", ("features", "shape"), {}),
    ("length", "ReduceL2", ("flat", "last"), {}),
    ("long", "Clamp", ("length",), {"min": "1e-12", "max": "3e38"}),
    ("honest", "Divide", ("flat", "long"), {}),
)
CONSTANTS = {
    "deviation": np.array(0.25, np.float32),
    "kernel": KERNEL,
    "half": np.array(0.5, np.float32),
    "minus": np.array(-1, np.float32),
    "large": np.array(1e4, np.float16),
    "low": np.array(-0.5, np.float32),
    "zero": np.array([0], np.int64),
    "last": np.array([1], np.int64),
    "rest": np.array([-1], np.int64),
}
NAMES = {"float32": "f32", "float16": "f16", "int64": "i64"}


def write(folder: Path, *layers: Layer, constants: dict[str, NDArray[np.generic]] = CONSTANTS) -> EngineFile:
    """An IR of the honest layers and these, in an order of its own, with its weights."""
    weights, text, edges = b"", "", ""
    every: list[Layer] = [*reversed((*HONEST, *layers)), *((name, "Const", (), {}) for name in constants)]
    number = {name: index for index, (name, *_) in enumerate(every)}
    for name, kind, feeds, given in every:
        told = dict(given)
        if kind == "Const":
            data = constants[name]
            told = {"element_type": NAMES[str(data.dtype)], "shape": ",".join(map(str, data.shape))}
            told |= {"offset": str(len(weights)), "size": str(data.nbytes)}
            weights += data.tobytes()
        attributes = " ".join(f'{key}="{value}"' for key, value in told.items())
        ports = "".join(f'<port id="{place}"/>' for place in range(len(feeds)))
        out = f'<output><port id="{len(feeds)}"/></output>'
        text += f'<layer id="{number[name]}" name="{name}" type="{kind}" version="opset1"><data {attributes}/>'
        text += f"<input>{ports}</input>{out}</layer>"
        counts = {entry[0]: len(entry[2]) for entry in every}
        edges += "".join(
            f'<edge from-layer="{number[source]}" from-port="{counts[source]}" to-layer="{number[name]}"'
            f' to-port="{place}"/>'
            for place, source in enumerate(feeds)
        )
    path = folder / "g.xml"
    path.write_text(f'<net name="g" version="11"><layers>{text}</layers><edges>{edges}</edges></net>')
    path.with_suffix(".bin").write_bytes(weights)
    return EngineFile.of(path)


def census(file: EngineFile) -> Census:
    return Flow(file, (0.0, 1.0)).run(read_ir(file))


def test_an_honest_network_decides_nothing(tmp_path: Path) -> None:
    found = census(write(tmp_path))
    assert (found.decisions, [path.node for path in found.paths]) == ((), ["features"])
    assert found.gain == pytest.approx(max(4, np.abs(KERNEL).max()))


LEVELS = {"levels": "256", "auto_broadcast": "numpy"}


@pytest.mark.parametrize(
    ("layers", "family", "node"),
    [
        ([("c", "Greater", ("honest", "half"), {}), ("z", "Select", ("c", "minus", "honest"), {})], "compare", "c"),
        ([("c", "Greater", ("honest", "half"), {}), ("z", "Select", ("c", "minus", "honest"), {})], "select", "z"),
        ([("c", "LogicalNot", ("honest",), {})], "logic", "c"),
        ([("z", "Ceiling", ("honest",), {})], "round", "z"),
        ([("z", "Convert", ("honest",), {"destination_type": "boolean"})], "round", "z"),
        ([("z", "FakeQuantize", ("x", "low", "half", "low", "half"), {"levels": "2"})], "round", "z"),
        ([("i", "TopK", ("honest", "last"), {})], "rank", "i"),
        ([("i", "Convert", ("x",), {"destination_type": "i32"}), ("z", "Gather", ("rest", "i"), {})], "index", "z"),
        ([("r", "RandomUniform", ("shape", "low", "half"), {})], "chance", "r"),
        ([("k", "Multiply", ("honest", "large"), {}), ("z", "Sigmoid", ("k",), {})], "steep", "k"),
        ([("m", "ReduceMean", ("x", "last"), {}), ("z", "Multiply", ("honest", "m"), {})], "path", "m"),
        ([("z", "Bucketize", ("honest", "half"), {})], "unknown", "z"),
        ([("c", "Equal", ("rows", "last"), {}), ("z", "Select", ("c", "minus", "honest"), {})], "select", "z"),
    ],
)
def test_what_decides_is_found(layers: list[Layer], family: str, node: str, tmp_path: Path) -> None:
    own = census(write(tmp_path)).counts
    found = {(item.family, item.node) for item in census(write(tmp_path, *layers)).unexplained(own)}
    assert (family, node) in found


def test_fine_quantisers_are_explained(tmp_path: Path) -> None:
    one = ("q", "FakeQuantize", ("honest", "low", "half", "low", "half"), LEVELS)
    cast = ("i", "Convert", ("q",), {"destination_type": "u8"})
    assert census(write(tmp_path, one, cast)).decisions == ()


def test_layers_in_a_circle_are_an_error(tmp_path: Path) -> None:
    file = write(tmp_path, ("a", "Relu", ("b",), {}), ("b", "Relu", ("a",), {}))
    with pytest.raises(EngineError, match="in a circle"):
        census(file)
