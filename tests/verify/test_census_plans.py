"""The layers of a plan are held against the nodes of the graph it was built from, on a stand-in for a device."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from gated_graphs import GATES, graph
from host_trt import HostGpu, host_gpu, host_metadata, host_plan
from saboteurs import after
from tiny import Linear, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.errors import EngineError
from advcal_edge.report.census import Census, graph_explained
from advcal_edge.report.value import Value
from advcal_edge.runtime.backends.graph_scan import Model, Scan
from advcal_edge.spec import image
from advcal_edge.verify.census.explanation import find_explanation
from advcal_edge.verify.census.layers import foreign_layers
from advcal_edge.verify.models import open_engine

LINEAR = Linear.random(image(8))


def model(lines: str = "z = Identity(honest)") -> Model:
    made = graph(lines)
    for node in made.graph.node:
        node.name = f"n_{node.output[0]}"
    return Scan(made.SerializeToString(), Path("graph.onnx")).model()


def layer(name: str, kind: str, *nodes: str, **more: str) -> dict[str, Any]:
    return {"Name": name, "LayerType": kind, "Metadata": "\x1e".join(f"[ONNX Layer: {n}]" for n in nodes), **more}


def told(*layers: dict[str, Any] | str) -> str:
    return json.dumps({"Layers": layers, "Bindings": ["x", "z"]})


HONEST = (
    layer("n_features + n_positive", "CaskConvolution", "n_features", "n_positive"),
    layer("__myl_MulMeanDiv_myl0_1", "kgen", "n_embedding", "n_honest_2"),
    layer("Reformatting CopyNode for Input Tensor 0 to n_features", "Reformat"),
)


def found(document: str, lines: str = "z = Identity(honest)", *, exact: bool = True) -> list[tuple[str, str]]:
    return [(item.family, item.node) for item in foreign_layers(document, model(lines), exact=exact)]


def test_fused_layers_of_the_graph_are_explained() -> None:
    assert found(told(*HONEST)) == []


@pytest.mark.parametrize(
    ("foreign", "family"),
    [
        (layer("(Unnamed Layer* 9) [Select]", "Select"), "select"),
        (layer("choice", "TopK"), "rank"),
        (layer("lookup", "Gather"), "index"),
        (layer("gate", "PointWise", ParameterSubType="PointWiseExpression", Operation="GREATER"), "compare"),
        (layer("noise", "Fill", Operation="RANDOM_UNIFORM"), "chance"),
        (layer("again", "TripLimit"), "branch"),
        (layer("levels", "Unary", Operation="ROUND"), "round"),
        (layer("__myl_Sele_myl0_7", "kgen", "n_features", "gate_where"), "unknown"),
    ],
)
def test_a_layer_that_decides_and_is_not_in_the_graph_is_found(foreign: dict[str, Any], family: str) -> None:
    ((kind, node),) = found(told(*HONEST, foreign))
    assert (kind, node) == (family, "gate_where" if family == "unknown" else foreign["Name"])


def test_layers_are_explained_as_often_as_the_graph_has_such_nodes() -> None:
    lines = GATES["where"].lines
    one = layer("n_s", "Select", "n_s")
    compare = layer("n_c", "ElementWise", "n_c", Operation="GREATER")
    assert found(told(*HONEST, one, compare), lines) == []
    assert found(told(*HONEST, one, compare, layer("more", "Select")), lines) == [("select", "more")]


def test_names_of_nodes_are_no_words_of_a_layer() -> None:
    named = graph().graph
    named.node[0].name = "WhereItBegins/Select"
    made = Scan(onnx.helper.make_model(named).SerializeToString(), Path("g.onnx")).model()
    own = layer("WhereItBegins/Select + n", "PointWise", "WhereItBegins/Select")
    assert foreign_layers(told(own), made, exact=True) == []
    other = layer("WhereItBegins/Select2 + n", "PointWise")
    assert [item.family for item in foreign_layers(told(other), made, exact=True)] == ["select"]


def test_without_the_own_graph_names_are_not_compared() -> None:
    other = layer("elsewhere", "kgen", "a_node_of_another_export")
    assert found(told(other)) == [("unknown", "a_node_of_another_export")]
    assert found(told(other), exact=False) == []


@pytest.mark.parametrize("document", [told("names", "only"), "{}", "[", '{"Layers": 3}'])
def test_without_details_there_is_no_census(document: str) -> None:
    with pytest.raises(EngineError):
        found(document)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostGpu]:
    with host_gpu(monkeypatch) as device:
        yield device


def flipping(graph: onnx.GraphProto) -> None:
    """z turned round where its first number is large."""
    make = onnx.helper.make_node
    nodes = [
        make("ReduceMax", ["honest"], ["most"], keepdims=1, name="most"),
        make("Greater", ["most", "most"], ["c"], name="gate_greater"),
        make("Neg", ["honest"], ["turned"], name="turned"),
        make("Where", ["c", "turned", "honest"], ["z"], name="gate_where"),
    ]
    after(graph, nodes)


def census_of(bundle: Bundle, plan: bytes, source: bytes) -> dict[str, Any]:
    card = host_metadata(plan, source, "fp32", "forward")
    bundle = bundle.add({"engines/p.plan": plan, "engines/p.json": json.dumps(card.to_json()).encode()})
    engine = open_engine(bundle, bundle.file("engines/p.plan"), explanation=find_explanation(bundle))
    census: dict[str, Any] = engine.info["census"]
    return census


def test_a_plan_with_another_graph_inside_is_found(gpu: HostGpu, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "B", LINEAR, ("fp32",), {}, gradient=True)
    source = bundle.file("onnx/forward.fp32.onnx").read_bytes()
    own = census_of(bundle, host_plan(source), source)
    assert (own["read"], own["against"], own["unexplained"]["count"]) == ("plan", "unrecorded", 0)
    other = onnx.load_from_string(source)
    flipping(other.graph)
    census = census_of(bundle, host_plan(other.SerializeToString()), source)
    assert {node["node"] for node in census["unexplained"]["nodes"]} == {"gate_greater", "gate_where"}
    assert graph_explained(Census.read(Value(census))).status == "fail"


def test_a_plan_of_a_gated_graph_is_found_by_that_graph(gpu: HostGpu, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "B", LINEAR, ("fp32",), {}, gradient=True)
    gated = onnx.load_from_string(bundle.file("onnx/forward.fp32.onnx").read_bytes())
    flipping(gated.graph)
    source = gated.SerializeToString()
    bundle = bundle.add({"onnx/forward.fp16.onnx": source})
    check = graph_explained(Census.read(Value(census_of(bundle, host_plan(source), source))))
    assert check.status == "fail"
    assert "Greater `gate_greater` compares values; Where `gate_where` selects by values" in check.why


def test_a_plan_that_tells_names_only_stays_open(gpu: HostGpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = write_bundle(tmp_path / "B", LINEAR, ("fp32",), {}, gradient=True)
    source = bundle.file("onnx/forward.fp32.onnx").read_bytes()
    monkeypatch.setattr("host_trt.inspector_json", lambda *told: json.dumps({"Layers": ["gemm"], "Bindings": []}))
    check = graph_explained(Census.read(Value(census_of(bundle, host_plan(source), source))))
    assert (check.status, check.required) == ("skipped", True)
    assert "names of its layers" in check.why
