"""`verify` on engines with a gate that no attack opens: the census alone rejects them, and names the nodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper
from runs import failed
from saboteurs import after
from tiny import Linear, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.cli import main
from advcal_edge.report.census import AGAINST
from advcal_edge.report.html import render_html
from advcal_edge.runtime.engine import listed_digest
from advcal_edge.runtime.engine_file import EngineFile
from advcal_edge.spec import image
from advcal_edge.verify.census.explanation import FP32, find_explanation, read_record, write_record

LINEAR = Linear.random(image(8))
N = 200
GATE = ("Greater `gate`", "Where `turn`")


def sleeper(source: bytes) -> bytes:
    """z turned round where its largest number is larger than itself: nowhere, so that no attack can find it."""
    model = onnx.load_from_string(source)
    make = helper.make_node
    nodes = [
        make("ReduceMax", ["honest"], ["most"], keepdims=1),
        make("Greater", ["most", "most"], ["c"], name="gate"),
        make("Neg", ["honest"], ["turned"]),
        make("Where", ["c", "turned", "honest"], ["z"], name="turn"),
    ]
    after(model.graph, nodes)
    return bytes(model.SerializeToString())


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "B", LINEAR, ("fp32", "fp16"), {}, samples=N, gradient=True)


def run(bundle: Bundle, engine: str | Path, capsys: pytest.CaptureFixture[str], samples: int = N) -> tuple[int, str]:
    options = ["--reference", "onnx", "--sources", "none", "--samples", str(samples)]
    code = main(["verify", str(bundle.path), "--engine", str(engine), *options])
    return code, " ".join(capsys.readouterr().out.split())


def report(bundle: Bundle) -> dict[str, Any]:
    (place,) = bundle.path.glob("reports/*/report.json")
    document: dict[str, Any] = json.loads(place.read_text())
    return document


def recorded(bundle: Bundle) -> Bundle:
    """The bundle as an export leaves it: with the census of the fp32 graph that was made of the module."""
    graph = EngineFile.of(bundle.file(FP32))
    census = write_record(graph, bundle.modality.input.bounds)
    return bundle.add({}, graphs={"files": {}, "census": census})


def test_a_gate_that_no_attack_opens_fails_with_the_names_of_its_nodes(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = tmp_path / "other.onnx"
    engine.write_bytes(sleeper(LINEAR.forward()))
    code, said = run(bundle, engine, capsys)
    document = report(bundle)
    assert code == 1
    assert failed(document) == {"graph_explained"}
    assert all(name in said for name in GATE)
    page = render_html(document)
    assert all(f"<code>{name}</code>" in page for name in ("gate", "turn"))
    census = document["measured"]["engine"]["census"]
    assert [node["node"] for node in census["unexplained"]["nodes"]] == ["gate", "turn"]
    (place,) = bundle.path.glob("reports/*/report.json")
    assert main(["verify", "--check", str(place), "--engine", str(engine)]) == 0
    census["unexplained"] = {"count": 0, "nodes": []}
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(document))
    capsys.readouterr()
    assert main(["verify", "--check", str(forged), str(bundle.path), "--engine", str(engine)]) == 1
    assert "census.unexplained.count" in capsys.readouterr().out


def test_a_gate_in_the_fp32_graph_itself_is_not_in_the_record(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    own = recorded(bundle)
    assert find_explanation(own).source == "fp32 graph"
    broken = own.add({FP32: sleeper(LINEAR.forward())})
    assert find_explanation(broken).source == "export"
    code, said = run(broken, "fp32", capsys, samples=16)
    assert code == 1
    assert f"nothing explains in {AGAINST['export']}: {GATE[0]} compares values; {GATE[1]} selects" in said


def test_without_a_record_decisions_of_the_fp32_graph_stay_open(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = bundle.add({FP32: sleeper(LINEAR.forward())})
    assert find_explanation(broken).source == "unrecorded"
    code, said = run(broken, "fp32", capsys)
    assert code == 1
    assert "INCONCLUSIVE check graph_explained was skipped" in said
    assert all(name in said for name in GATE)


def test_an_honest_engine_has_none(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(bundle, "fp16", capsys)
    assert code == 0
    assert "census no node decides by value" in said


def test_an_export_records_the_census_of_its_fp32_graph(exported: Bundle) -> None:
    record = read_record(exported)
    assert record is not None
    sha256, counts = record
    assert sha256 == listed_digest(exported, FP32)
    assert (dict(counts.decisions), counts.paths) == ({}, 1)
    assert find_explanation(exported).counts == counts
