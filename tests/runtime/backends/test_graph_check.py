"""Graphs from elsewhere are refused in words before anything of them is unpacked, compiled or run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hostile_graphs import FLOAT, MAIN, OWN, branching, looping, multiplying, spoil
from onnx import TensorProto, helper, numpy_helper
from tiny import Linear

from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends.graph_check import check_graph
from advcal_edge.runtime.backends.onnx import OnnxBackend
from advcal_edge.runtime.engine_file import EngineFile
from advcal_edge.runtime.model import Runner
from advcal_edge.spec import thermal

LINEAR = Linear.random(thermal(8))
Maker = Callable[[], onnx.ModelProto]


def refused(path: Path, model: onnx.ModelProto | bytes) -> EngineError:
    """The error that opening it ends in."""
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    with pytest.raises(EngineError) as caught:
        Runner(OnnxBackend(path), LINEAR.modality.input)
    with pytest.raises(EngineError) as checked:
        check_graph(EngineFile.of(path))
    assert checked.value.message == caught.value.message  # it never came to onnxruntime
    assert caught.value.hint
    return caught.value


def make(op: str, inputs: list[str], constants: dict[str, Any] | None = None, **attributes: Any) -> onnx.ModelProto:
    arrays = {name: np.asarray(value) for name, value in (constants or {}).items()}
    return spoil(LINEAR, [helper.make_node(op, inputs, ["w"], **attributes)], arrays)


def recursive() -> onnx.ModelProto:
    nodes = [helper.make_node(op, ["a"], ["b"], domain="own") for op in ("G", "F")]
    functions = [
        helper.make_function("own", name, ["a"], ["b"], [node], [MAIN, OWN])
        for name, node in zip("FG", nodes, strict=True)
    ]
    return spoil(LINEAR, [helper.make_node("F", ["x"], ["w"], domain="own")], None, functions)


def inside_a_branch(node: onnx.NodeProto) -> onnx.ModelProto:
    graph = helper.make_graph([node], "inner", [], [helper.make_tensor_value_info("w", FLOAT, None)])
    choice = helper.make_node("If", ["yes"], ["waste"], then_branch=graph, else_branch=graph)
    return spoil(LINEAR, [choice], {"yes": np.array(True)})


def claiming(**changes: Any) -> onnx.ModelProto:
    model = spoil(LINEAR, [])
    for name, value in changes.items():
        if name == "dims":
            model.graph.initializer[0].dims[:] = value
        else:
            setattr(model.graph.initializer[0], name, value)
    return model


def listed(dims: list[int]) -> onnx.ModelProto:
    model = spoil(LINEAR, [])
    model.graph.initializer.append(TensorProto(name="l", data_type=FLOAT, dims=dims, float_data=[1.0] * 4))
    return model


def sparse() -> onnx.ModelProto:
    model = spoil(LINEAR, [])
    values = helper.make_tensor("s", FLOAT, [1], [2.0])
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, helper.make_tensor("", TensorProto.INT64, [1], [3]), [2**20, 2**20])
    )
    return model


BIG = [2**20, 2**20]
MODELS: dict[str, tuple[Maker, str]] = {
    "unknown domain": (lambda: make("Launch", ["x"], domain="evil.corp"), "operator `Launch` of the domain `evil"),
    "unknown domain in a branch": (
        lambda: inside_a_branch(helper.make_node("Launch", ["x"], ["w"], domain="evil.corp")),
        "operator `Launch`",
    ),
    "files of a provider": (
        lambda: make("EPContext", ["x"], domain="com.microsoft", ep_cache_context="/etc/passwd", embed_mode=0),
        "operator `EPContext`",
    ),
    "its own settings": (lambda: spoil(LINEAR, [], metadata={"ort_config": "{}"}), "brings settings"),
    "functions that multiply": (lambda: multiplying(LINEAR, 9), "functions written out has"),
    "functions that go deep": (lambda: multiplying(LINEAR, 40, 1), "levels of graphs and functions"),
    "functions that call each other": (recursive, "calls itself"),
    "graphs inside graphs": (lambda: branching(LINEAR, 16), "levels of graphs and functions"),
    "rounds of a loop": (lambda: looping(LINEAR, 2**60, seen=True), "a loop of `.*` has 1,152,921,504,606,846,976"),
    "ConstantOfShape": (lambda: make("ConstantOfShape", ["s"], {"s": BIG}), "what `ConstantOfShape` makes"),
    "Expand": (lambda: make("Expand", ["x", "s"], {"s": [1, *BIG]}), "what `Expand` makes"),
    "Tile": (lambda: make("Tile", ["x", "s"], {"s": [1, 1, *BIG]}), "what `Tile` makes"),
    "Range": (lambda: make("Range", ["a", "b", "d"], {"a": 0, "b": 2**40, "d": 1}), "what `Range` makes"),
    "Range without end": (lambda: make("Range", ["a", "b", "d"], {"a": 0.0, "b": np.inf, "d": 1.0}), "`Range` makes"),
    "Pad": (lambda: make("Pad", ["x", "p"], {"p": [0, 0, 2**20, 2**20] * 2}), "what `Pad` makes"),
    "Resize by factors": (
        lambda: make("Resize", ["x", "", "s"], {"s": np.array([1, 1, 1e6, 1e6], np.float32)}),
        "what `Resize` makes",
    ),
    "Resize to a size": (lambda: make("Resize", ["x", "", "", "s"], {"s": [1, 1, *BIG]}), "what `Resize` makes"),
    "OneHot": (lambda: make("OneHot", ["x", "d", "v"], {"d": 2**40, "v": [0, 1]}), "what `OneHot` makes"),
    "RandomNormal": (lambda: make("RandomNormal", [], shape=BIG), "what `RandomNormal` makes"),
    "a size in a branch": (
        lambda: inside_a_branch(helper.make_node("RandomNormal", [], ["w"], shape=BIG)),
        "what `RandomNormal` makes",
    ),
    "a sparse constant": (sparse, "a sparse constant"),
    "a constant larger than its bytes": (lambda: claiming(dims=[2**20, 6]), "has too few bytes"),
    "a constant larger than any memory": (lambda: claiming(dims=[2**62, 2**62]), "has too few bytes"),
    "a constant of negative size": (lambda: claiming(dims=[-1, 6]), "claims the shape"),
    "a list larger than it is": (lambda: listed([4000]), "has too few bytes"),
}


@pytest.mark.parametrize("name", MODELS)
def test_refuses(name: str, tmp_path: Path) -> None:
    made, words = MODELS[name]
    error = refused(tmp_path / "g.onnx", made())
    assert re.search(words, error.message), error.message


def test_functions_within_the_limit_run(tmp_path: Path) -> None:
    path = tmp_path / "g.onnx"
    path.write_bytes(multiplying(LINEAR, 3).SerializeToString())
    x = np.random.default_rng(0).random((2, 1, 8, 8), dtype=np.float32)
    np.testing.assert_allclose(Runner(OnnxBackend(path), LINEAR.modality.input)(x), LINEAR.embed(x), atol=1e-5)


def test_branches_and_loops_within_the_limit_run(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((2, 1, 8, 8), dtype=np.float32)
    for name, model in (("b", branching(LINEAR, 4)), ("l", looping(LINEAR, 10, seen=True))):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(model.SerializeToString())
        np.testing.assert_allclose(Runner(OnnxBackend(path), LINEAR.modality.input)(x), LINEAR.embed(x), atol=1e-5)


def test_limits_can_be_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "g.onnx"
    path.write_bytes(multiplying(LINEAR, 3).SerializeToString())
    monkeypatch.setenv("ADVCAL_MAX_GRAPH_NODES", "500")
    assert "ADVCAL_MAX_GRAPH_NODES=" in str(refused(path, path.read_bytes()).hint)
    monkeypatch.setenv("ADVCAL_MAX_GRAPH_NODES", "2000")
    assert Runner(OnnxBackend(path), LINEAR.modality.input).dim == 6


def test_refuses_another_format_of_onnxruntime(tmp_path: Path) -> None:
    graph = LINEAR.forward()
    polyglot = b"\x7a\x06\x00\x00ORTM" + graph  # to protobuf an unknown field of six bytes, then a graph
    assert onnx.load_from_string(polyglot).graph.node
    assert "own format" in refused(tmp_path / "g.onnx", polyglot).message


PLACES: dict[str, dict[str, str]] = {
    "a file of a folder inside": {"location": "inner/weights.bin"},
    "the graph itself": {"location": "g.onnx"},
    "the folder": {"location": "."},
    "a file that is not there": {"location": "weights.bin"},
    "an absolute path": {"location": "/etc/passwd"},
    "a path that leaves the folder": {"location": "../g.onnx.data"},
    "the same file by another path": {"location": "./g.onnx.data"},
    "an address in memory": {"location": "*/_ORT_MEM_ADDR_/*", "offset": "4096", "length": "16"},
    "no place": {},
    "an offset beyond the end": {"location": "g.onnx.data", "offset": "100000", "length": "4"},
    "a length beyond the end": {"location": "g.onnx.data", "offset": "0", "length": "100000"},
    "a negative offset": {"location": "g.onnx.data", "offset": "-8", "length": "8"},
    "an offset that is no number": {"location": "g.onnx.data", "offset": "0x10"},
    "an offset of 30 digits": {"location": "g.onnx.data", "offset": "9" * 30},
    "fewer bytes than it claims": {"location": "g.onnx.data", "offset": "0", "length": "8"},
    "a key that nobody knows": {"location": "g.onnx.data", "prepacked_0": "1|2"},
}


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("where", ["initializer", "node", "function"])
def test_refuses_weights_elsewhere(name: str, where: str, tmp_path: Path) -> None:
    tensor = TensorProto(name="e", data_type=FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in PLACES[name].items():
        tensor.external_data.add(key=key, value=value)
    constant = helper.make_node("Constant", [], ["c"])
    constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(tensor)
    function = helper.make_function("own", "F", [], ["c"], [constant], [MAIN])
    model = spoil(LINEAR, [constant] if where == "node" else [], None, [function] if where == "function" else [])
    if where == "initializer":
        model.graph.initializer.append(tensor)
    (tmp_path / "g.onnx.data").write_bytes(bytes(64))
    assert "`e`" in refused(tmp_path / "g.onnx", model).message


def test_refuses_weights_named_twice(tmp_path: Path) -> None:
    model = spoil(LINEAR, [])
    tensor = model.graph.initializer.add(name="e", data_type=FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for place in ("g.onnx.data", "/etc/passwd"):
        tensor.external_data.add(key="location", value=place)
    (tmp_path / "g.onnx.data").write_bytes(bytes(64))
    refused(tmp_path / "g.onnx", model)


def test_refuses_weights_that_are_missing(tmp_path: Path) -> None:
    model = onnx.load_from_string(LINEAR.forward())
    path = tmp_path / "g.onnx"
    onnx.save_model(model, str(path), save_as_external_data=True, location="g.onnx.data", size_threshold=64)
    (tmp_path / "g.onnx.data").unlink()
    assert "which is not there" in refused(path, path.read_bytes()).message


def test_a_shape_that_comes_from_a_constant_node(tmp_path: Path) -> None:
    constant = helper.make_node("Constant", [], ["s"], value=numpy_helper.from_array(np.array(BIG), "s"))
    nodes = [constant, helper.make_node("ConstantOfShape", ["s"], ["w"])]
    assert "what `ConstantOfShape` makes" in refused(tmp_path / "g.onnx", spoil(LINEAR, nodes)).message
