"""A census finds what decides by value in a graph, however it is written, and nothing in honest variants of one."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from gated_graphs import CONSTANTS, ENCODER, GATES, SIZE, Gate, graph
from onnx import helper, numpy_helper
from saboteurs import GRAPHS
from variants import CPU, census, saved, unexplained, variants

from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends.graph_scan import Scan
from advcal_edge.runtime.engine_file import EngineFile
from advcal_edge.verify.census.ranges import Range, of_constant, of_output

UNRUNNABLE = ("unknown", "tree")  # their operators do not exist, or lack their attributes


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(graph(), tmp_path_factory.mktemp("honest") / "honest.onnx")


@pytest.mark.parametrize("name", GATES)
def test_every_gate_is_found(name: str, honest: Path, tmp_path: Path) -> None:
    gate = GATES[name]
    path = saved(graph(gate.lines), tmp_path / "gate.onnx")
    found = {(item.family, item.node) for item in unexplained(path, honest)}
    assert (gate.family, gate.node) in found
    if name not in UNRUNNABLE:
        session = ort.InferenceSession(path, providers=CPU)
        session.run(None, {"x": np.full((2, 3, SIZE, SIZE), 0.3, np.float32)})


@pytest.mark.parametrize("name", GRAPHS)
def test_of_the_engines_that_attacks_reject_some_are_found_too(name: str, honest: Path, tmp_path: Path) -> None:
    model = graph("z = Identity(honest_z)", encoder=ENCODER.replace("honest =", "honest_z ="))
    GRAPHS[name](model.graph)
    found = {item.family for item in unexplained(saved(model, tmp_path / "broken.onnx"), honest)}
    wanted = {"added_noise": {"chance"}, "rounded_input": {"round"}, "overflowing": {"compare", "select", "path"}}
    assert found == wanted.get(name, set())


def test_the_encoder_itself_decides_nothing(honest: Path) -> None:
    found = census(honest)
    assert found.decisions == ()
    assert [path.operator for path in found.paths] == ["Conv"]
    assert found.gain == pytest.approx(4)  # division by a deviation of 0.25


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_honest_variants_have_nothing_unexplained(honest: Path, tmp_path: Path) -> None:
    found = {path.stem: unexplained(path, honest) for path in variants(honest, tmp_path)}
    assert len(found) == 9
    assert found == {name: [] for name in found}


GROUPING = ENCODER + "d, i = TopK(features, two)\n kept = GatherElements<axis=3>(features, i)\n"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_encoder_that_ranks_for_a_reason_explains_its_engines_and_no_gate(tmp_path: Path) -> None:
    tail = "m = GlobalAveragePool(kept)\n f = Flatten(m)\n y = MatMul(f, projection)\n sum = Add(honest, y)\n"
    honest = saved(graph(f"{tail} z = Identity(sum)", encoder=GROUPING), tmp_path / "honest.onnx")
    kinds = dict(census(honest).counts.decisions)
    assert kinds == {"rank inside": 1, "index inside": 1}
    found = {path.stem: unexplained(path, honest) for path in variants(honest, tmp_path)}
    assert found == {name: [] for name in found}
    more = f"{tail} v, p = TopK(sum, four1)\n z = Identity(v)"
    (extra,) = unexplained(saved(graph(more, encoder=GROUPING), tmp_path / "gate.onnx"), honest)
    assert (extra.family, extra.node) == ("rank", "v")


def test_a_gate_inside_a_function_is_found(honest: Path, tmp_path: Path) -> None:
    function = """
    <opset_import: ["" : 20], domain: "own"> Turn (v, t) => (w) { c = Greater(v, t) s = Cast<to=1>(c) w = Mul(v, s) }
    """
    path = saved(graph("z = own.Turn(honest, half)", functions=function), tmp_path / "gate.onnx")
    assert [(item.family, item.node) for item in unexplained(path, honest)] == [("compare", "c")]


def test_functions_that_call_each_other_end_in_an_error(tmp_path: Path) -> None:
    function = """<opset_import: ["" : 20, "own" : 1], domain: "own"> Turn (v) => (w) { w = own.Turn(v) }"""
    with pytest.raises(EngineError, match="levels of graphs and functions"):
        census(saved(graph("z = own.Turn(honest)", functions=function), tmp_path / "gate.onnx"))


def test_what_the_output_does_not_depend_on_is_left_out(honest: Path, tmp_path: Path) -> None:
    model = graph("z = Identity(honest)\n label = ArgMax<axis=1>(honest)")
    model.graph.output.append(helper.make_tensor_value_info("label", onnx.TensorProto.INT64, ["N", 1]))
    path = saved(model, tmp_path / "two.onnx")
    assert unexplained(path, honest) == []
    assert [item.family for item in census(path, "label").decisions] == ["rank"]


def test_sizes_alone_decide_nothing(honest: Path, tmp_path: Path) -> None:
    lines = """n = Shape<start=0, end=1>(x)\n s = Concat<axis=0>(n, four1)\n y = Reshape(honest, s)
    c = Shape(flat)\n k = Gather(c, one)\n f = Cast<to=1>(k)\n r = Sqrt(f)\n d = Div(y, r)
    w = Expand(table, s)\n e = Equal(s, four1)\n p = Where(e, s, s)\n t = Reshape(d, p)\n z = Mul(t, r)"""
    assert unexplained(saved(graph(lines), tmp_path / "sizes.onnx"), honest) == []


def test_without_an_own_graph_every_decision_is_listed(tmp_path: Path) -> None:
    gate = GATES["greater"]
    found = list(census(saved(graph(gate.lines), tmp_path / "gate.onnx")).unexplained(None))
    assert [item.family for item in found] == ["compare", "select"]


def test_constants_in_files_beside_the_graph_are_as_steep(honest: Path, tmp_path: Path) -> None:
    gate: Gate = GATES["steep product"]
    path = tmp_path / "gate.onnx"
    onnx.save(graph(gate.lines), path, save_as_external_data=True, location="gate.onnx.data", size_threshold=0)
    assert ("steep", "k") in {(item.family, item.node) for item in unexplained(path, honest)}
    assert CONSTANTS["steep"].max() == 500


def test_damaged_graphs_end_in_an_error_or_a_census(honest: Path, tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "damaged.onnx"
    whole = [graph(GATES[name].lines).SerializeToString() for name in ("if", "table", "steep inside")]
    for data in whole * 60:
        broken = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            broken[place] = rng.integers(0, 256)
        path.write_bytes(broken)
        with contextlib.suppress(EngineError):
            counts = census(path).counts
            assert 0 <= counts.gain <= 1e30


@pytest.mark.parametrize(
    ("operator", "given", "expected"),
    [
        ("Pow", [(-2.0, 1.0), (2.0, 2.0)], (0.0, 4.0)),
        ("Pow", [(-2.0, 1.0), (3.0, 3.0)], (-8.0, 1.0)),
        ("Pow", [(-2.0, 1.0), (0.5, 0.5)], None),
        ("Abs", [(-2.0, 1.0)], (0.0, 2.0)),
        ("Reciprocal", [(2.0, 4.0)], (0.25, 0.5)),
        ("Reciprocal", [(-2.0, 4.0)], None),
        ("Div", [(-1.0, 1.0), (-2.0, 4.0)], None),
        ("Sub", [(0.0, 1.0), (0.5, 2.0)], (-2.0, 0.5)),
        ("Mul", [(0.0, 1.0), (math.inf, math.inf)], None),
        ("Exp", [(0.0, 1e6)], None),
        ("Clip", [(-1.0, 9.0), (0.0, 0.0), (6.0, 6.0)], (0.0, 6.0)),
        ("Max", [(-1.0, 9.0), (0.0, 3.0)], (0.0, 9.0)),
        ("Concat", [(-1.0, 2.0), None], None),
        ("Pad", [(1.0, 2.0)], (0.0, 2.0)),
        ("Where", [None, (0.0, 1.0), (5.0, 6.0)], (0.0, 6.0)),
        ("Sigmoid", [None], (0.0, 1.0)),
        ("Conv", [(0.0, 1.0), (0.0, 1.0)], None),
    ],
)
def test_ranges(operator: str, given: Sequence[Range | None], expected: Range | None) -> None:
    assert of_output(operator, given) == expected


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.float64, np.int8, np.uint8, np.int64])
def test_ranges_of_raw_constants(kind: type[np.generic], tmp_path: Path) -> None:
    values = np.linspace(-3, 100, 300).astype(kind)
    assert range_in_a_graph(numpy_helper.from_array(values, "c"), tmp_path) == (values.min(), values.max())


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_ranges_of_listed_constants(kind: type[np.generic], tmp_path: Path) -> None:
    values = np.linspace(-3, 100, 300).astype(kind)
    tensor = helper.make_tensor("c", helper.np_dtype_to_tensor_dtype(values.dtype), values.shape, values.tolist())
    assert range_in_a_graph(tensor, tmp_path) == (values.min(), values.max())


def range_in_a_graph(tensor: onnx.TensorProto, folder: Path) -> Range | None:
    """What a census knows of a constant of a graph."""
    model, path = graph(), folder / "constants.onnx"
    model.graph.initializer.append(tensor)
    file = EngineFile.of(saved(model, path))
    return of_constant(next(c for c in Scan(file.data, path).model().graph.initializers if c.name == "c"), file)


@pytest.mark.parametrize("form", ["DequantizeLinear", "QLinearMatMul"])
def test_a_channel_without_weights_amplifies_nothing_whatever_its_scale(form: str, tmp_path: Path) -> None:
    """Quantisers give a channel of zeros any scale; here 1, where others have 0.01."""
    weights = np.full((3, 2), 100, np.int8)
    weights[:, 0] = 0
    constants = {"w": weights, "s": np.array([1, 0.01], np.float32), "o": np.zeros(2, np.int8)}
    constants |= {"i": np.array(0.02, np.float32), "j": np.array(0, np.int8)}
    nodes = [helper.make_node("QuantizeLinear", ["x", "i", "j"], ["q"])]
    if form == "QLinearMatMul":
        nodes.append(helper.make_node(form, ["q", "i", "j", "w", "s", "o", "i", "j"], ["p"]))
        nodes.append(helper.make_node("DequantizeLinear", ["p", "i", "j"], ["z"]))
    else:
        nodes.append(helper.make_node(form, ["q", "i", "j"], ["y"]))
        nodes.append(helper.make_node(form, ["w", "s", "o"], ["v"], axis=1))
        nodes.append(helper.make_node("MatMul", ["y", "v"], ["z"]))
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", size]) for name, size in (("x", 3), ("z", 2))
    ]
    body = helper.make_graph(
        nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(v, k) for k, v in constants.items()]
    )
    assert census(saved(helper.make_model(body), tmp_path / "g.onnx")).gain == pytest.approx(1)
