from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from small_trunk import SmallTrunk, Unexportable

from advcal_edge.bundle import Bundle
from advcal_edge.errors import ConfigError, DependencyError, ExportError
from advcal_edge.export.graphs import export_graphs

NAMES = ["onnx/forward.fp16.onnx", "onnx/forward.fp32.onnx", "onnx/forward.int8.onnx", "onnx/vjp.fp32.onnx"]


@pytest.mark.slow  # tests/cli/test_export.py exports a part again
def test_everything_then_a_part_again(bundle: Bundle, trunk: SmallTrunk, forward_graph: Path, vjp_graph: Path) -> None:
    told: list[str] = []
    full, result = export_graphs(bundle, trunk, report=told.append)
    assert told == ["forward.fp32.onnx", "forward.fp16.onnx", "forward.int8.onnx", "vjp.fp32.onnx"]
    assert [graph.path for graph in result.graphs] == [f"onnx/{name}" for name in told]
    section = full.section("graphs")
    assert section["opset"] == 20
    assert sorted(section["files"]) == NAMES
    for graph in result.graphs:
        entry = section["files"][graph.path]
        assert (entry["precision"], entry["kind"]) == (graph.precision, graph.kind)
        assert entry["fidelity"] == graph.fidelity
        assert full.file(graph.path).stat().st_size == graph.bytes
    assert json.loads(json.dumps(result.to_json()))["graphs"][3]["kind"] == "vjp"
    # exported a second time in this process: the same bytes
    assert full.file("onnx/forward.fp32.onnx").read_bytes() == forward_graph.read_bytes()
    assert full.file("onnx/vjp.fp32.onnx").read_bytes() == vjp_graph.read_bytes()

    again, part = export_graphs(full, trunk, precisions=("fp16",), gradient=False, opset=19)
    assert [graph.path for graph in part.graphs] == ["onnx/forward.fp16.onnx"]
    merged = again.section("graphs")["files"]
    assert sorted(merged) == NAMES
    assert [merged[name]["opset"] for name in NAMES] == [19, 20, 20, 20]
    assert again.manifest["files"]["onnx/forward.fp32.onnx"] == full.manifest["files"]["onnx/forward.fp32.onnx"]
    assert sorted(path.name for path in again.path.iterdir() if path.name.startswith(".")) == []


def test_unknown_precision(bundle: Bundle, trunk: SmallTrunk) -> None:
    with pytest.raises(ConfigError, match="expected one of: `fp32`, `fp16`, `bf16`, `int8`, `fp8`") as caught:
        export_graphs(bundle, trunk, precisions=("fp32", "int4"))
    assert caught.value.hint == "did you mean `int8`?"


def test_nothing_asked_for(bundle: Bundle, trunk: SmallTrunk) -> None:
    with pytest.raises(ConfigError, match="nothing to export"):
        export_graphs(bundle, trunk, precisions=(), gradient=False)


def test_unknown_opset_before_any_work(bundle: Bundle, trunk: SmallTrunk) -> None:
    with pytest.raises(ConfigError, match="18 to 20"):
        export_graphs(bundle, trunk, opset=23)


def test_a_failure_leaves_the_bundle_as_it_was(bundle: Bundle) -> None:
    before = {path: path.read_bytes() for path in bundle.path.rglob("*") if path.is_file()}
    with pytest.raises(ExportError):
        export_graphs(bundle, Unexportable())
    assert {path: path.read_bytes() for path in bundle.path.rglob("*") if path.is_file()} == before
    assert not [path for path in bundle.path.iterdir() if path.is_dir()]
    assert not Bundle.open(bundle.path).has("onnx/forward.fp32.onnx")


@pytest.mark.parametrize(("package", "extra"), [("onnxscript", "export"), ("onnxruntime", "cpu")])
def test_missing_package(
    bundle: Bundle, trunk: SmallTrunk, monkeypatch: pytest.MonkeyPatch, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DependencyError) as caught:
        export_graphs(bundle, trunk)
    assert caught.value.hint == f"pip install 'advcal-edge[{extra}]'"
