"""Our reader of ONNX files against `onnx` itself, on whole and on damaged bytes."""

from __future__ import annotations

import gc
import mmap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings, strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_reading import listed_values, read_model
from tiny import Linear

from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends.first_run import resident_bytes
from advcal_edge.runtime.backends.graph_scan import Model, Scan
from advcal_edge.spec import thermal


def rich() -> onnx.ModelProto:
    """A model that has one of everything that is read."""
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value_ints=[1, -2, 3]), helper.make_node("Identity", ["c"], ["o"])],
        "inner",
        [],
        [helper.make_tensor_value_info("o", TensorProto.INT64, [3])],
        [helper.make_tensor("e", TensorProto.FLOAT, [2], [0.5, -0.25])],
    )
    outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    for name, value in (("location", "g.onnx.data"), ("offset", "16"), ("length", "64")):
        outside.external_data.add(key=name, value=value)
    values = helper.make_tensor("s", TensorProto.FLOAT, [1], [2.0])
    sparse = helper.make_sparse_tensor(values, helper.make_tensor("", TensorProto.INT64, [1], [3]), [2, 4])
    nodes = [
        helper.make_node("If", ["b"], ["z"], then_branch=inner, else_branch=inner, name="choose"),
        helper.make_node("Twice", ["x"], ["y"], domain="own", alpha=0.5, beta=-7, gamma="text", delta=[1.5, 2.5]),
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.arange(5), "k")),
        helper.make_node("Constant", [], ["q"], sparse_value=sparse),
    ]
    graph = helper.make_graph(
        nodes,
        "rich",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("z", TensorProto.INT64, [3])],
        [
            numpy_helper.from_array(np.array([3, -1]), "shape"),
            numpy_helper.from_array(np.ones((3, 3), np.float16), "half"),
            helper.make_tensor("long", TensorProto.INT64, [3], [1, -1, 2**62]),
            helper.make_tensor("double", TensorProto.DOUBLE, [2], [0.1, -2.5]),
            helper.make_tensor("small", TensorProto.INT32, [2], [-1, 5]),
            helper.make_tensor("words", TensorProto.STRING, [2], [b"a", b"bc"]),
            outside,
        ],
        sparse_initializer=[sparse],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    twice = helper.make_function("own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], opsets[:1])
    model = helper.make_model(graph, opset_imports=opsets, functions=[twice], ir_version=9)
    helper.set_model_props(model, {"who": "test", "more": "x" * 300})
    return model


DATA = bytes(rich().SerializeToString())


def scan(data: bytes | memoryview) -> Model:
    return Scan(data, Path("g.onnx")).model()


def test_reads_what_onnx_reads() -> None:
    for data in (DATA, Linear.random(thermal(8)).forward("fp16"), Linear.random(thermal(8)).vjp()):
        assert scan(data) == read_model(onnx.load_from_string(data))
    found = scan(DATA)
    assert [node.op for node in found.graph.nodes] == ["If", "Twice", "Constant", "Constant"]
    assert len(found.graph.nodes[0].graphs) == 2


def test_names_the_files_of_constants_wherever_they_stand() -> None:
    model, places = rich(), ("initializer", "node", "list", "branch", "function", "sparse")
    tensors = [TensorProto(name=n, data_type=1, dims=[4], data_location=TensorProto.EXTERNAL) for n in places]
    for tensor in tensors:
        tensor.external_data.add(key="location", value=f"{tensor.name}.bin")
    initializer, node, listed, branch, function, sparse = tensors
    model.graph.initializer.append(initializer)
    model.graph.node[2].attribute[0].t.CopyFrom(node)
    model.graph.node[1].attribute.add(name="all", type=onnx.AttributeProto.TENSORS).tensors.append(listed)
    model.graph.node[0].attribute[0].g.initializer.append(branch)
    model.functions[0].node[0].attribute.add(name="t", type=onnx.AttributeProto.TENSOR).t.CopyFrom(function)
    model.graph.sparse_initializer[0].values.CopyFrom(sparse)
    reader = Scan(model.SerializeToString(), Path("g.onnx"))
    reader.model()
    assert reader.files == {"g.onnx.data", *(f"{name}.bin" for name in places)}


def test_values_listed_one_by_one_are_bounded_from_above() -> None:
    for tensor, count in zip(scan(DATA).graph.initializers, listed_values(rich()), strict=True):
        assert tensor.listed >= count


def test_fields_that_come_twice_are_merged_as_protobuf_does() -> None:
    twice = DATA + DATA
    assert scan(twice) == read_model(onnx.load_from_string(twice))
    assert len(scan(twice).graph.nodes) == 8


def same_or_refused(data: bytes) -> None:
    """The property: an error of ours, or bytes that `onnx` refuses itself, or the same reading."""
    try:
        found = scan(data)
    except EngineError:
        return
    try:
        model = onnx.load_from_string(data)
    except DecodeError:
        return
    assert repr(found) == repr(read_model(model))  # two NaN are not equal, and read the same


def test_integers_that_are_too_long_lose_their_upper_bits() -> None:
    place = DATA.index(b"\xff" * 9 + b"\x01\x05B\x05small")  # -1 as an int32, in ten bytes
    same_or_refused(DATA[:place] + b"\x00" + DATA[place + 1 :])


@given(st.data())
@settings(max_examples=400)
def test_damaged_bytes(data: st.DataObject) -> None:
    content = bytearray(DATA)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        how = data.draw(st.sampled_from(["set", "cut", "insert", "remove", "copy"]))
        if how == "set":
            content[at] = data.draw(st.integers(0, 255))
        elif how == "cut":
            del content[at + 1 :]
        elif how == "insert":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=12))
        elif how == "remove":
            del content[at : at + data.draw(st.integers(1, 12))]
        else:
            content[at:at] = content[: data.draw(st.integers(1, 40))]
        content = content or bytearray(b"\0")
    same_or_refused(bytes(content))


@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    same_or_refused(content)


def varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def nested(levels: int) -> bytes:
    """A graph in a node in a graph, so many levels of graphs."""
    graph = b""
    for _ in range(levels - 1):
        attribute = b"\x32" + varint(len(graph)) + graph
        node = b"\x2a" + varint(len(attribute)) + attribute
        graph = b"\x0a" + varint(len(node)) + node
    return b"\x3a" + varint(len(graph)) + graph


HOSTILE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "no graph": lambda: b"\x08\x09",
    "a length beyond the end": lambda: b"\x3a\xff\xff\xff\xff\x0f",
    "a varint without end": lambda: b"\x3a" + b"\xff" * 20,
    "a field of number 0": lambda: b"\x02\x00",
    "a group": lambda: b"\x3b\x3c",
    "a name that is no UTF-8": lambda: b"\x3a\x05\x0a\x03\x22\x01\xff",
    "too many levels": lambda: nested(10_000),
    "just too many levels": lambda: nested(17),
    "too many nodes": lambda: b"\x3a" + varint(2 * 1001) + b"\x0a\x00" * 1001,
    "too many fields": lambda: b"\x08\x00" * 64_001 + DATA,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_refuses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVCAL_MAX_GRAPH_NODES", "1000")
    with pytest.raises(EngineError) as caught:
        scan(HOSTILE[name]())
    assert caught.value.hint


def test_levels_within_the_limit() -> None:
    depth, body = 0, scan(nested(16)).graph
    while body.nodes:
        depth, body = depth + 1, body.nodes[0].graphs[0]
    assert depth == 15


def test_large_constants_are_not_touched() -> None:
    size = 2**30
    head = b"\x4a" + varint(size)  # raw_data of a constant
    constant = b"\x2a" + varint(len(head) + size) + head
    head = b"\x3a" + varint(len(constant) + size) + constant
    with mmap.mmap(-1, len(head) + size) as memory:  # takes none until it is touched
        memory[: len(head)] = head
        before = resident_bytes()
        with memoryview(memory) as view:
            found = scan(view)
            (tensor,) = found.graph.initializers
            assert tensor.raw == size
            assert resident_bytes() - before < size / 64
            del found, tensor
            gc.collect()
