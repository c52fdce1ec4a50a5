from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from small_trunk import SmallTrunk, Unexportable
from untraceable import Untraceable

from advcal_edge.bundle import Bundle
from advcal_edge.errors import ConfigError, DependencyError, ExportError
from advcal_edge.export.graphs import export_graphs
from advcal_edge.export.result import Missing

NAMES = ["onnx/forward.fp16.onnx", "onnx/forward.fp32.onnx", "onnx/forward.int8.onnx", "onnx/vjp.fp32.onnx"]


@pytest.mark.slow  # tests/cli/test_export.py exports a part again
def test_everything_then_a_part_again(bundle: Bundle, trunk: SmallTrunk, forward_graph: Path, vjp_graph: Path) -> None:
    told: list[str] = []
    full, result = export_graphs(bundle, trunk, report=told.append)
    assert told == ["vjp.fp32.onnx", "forward.fp32.onnx", "forward.fp16.onnx", "forward.int8.onnx"]
    assert [graph.path for graph in result.graphs] == [f"onnx/{name}" for name in told]
    section = full.section("graphs")
    assert section["opset"] == 20
    assert sorted(section["files"]) == NAMES
    for graph in result.graphs:
        entry = section["files"][graph.path]
        assert (entry["precision"], entry["kind"]) == (graph.precision, graph.kind)
        assert entry["fidelity"] == graph.fidelity
        assert full.file(graph.path).stat().st_size == graph.bytes
    assert json.loads(json.dumps(result.to_json()))["graphs"][0]["kind"] == "vjp"
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


def test_where_nothing_can_be_made_the_bundle_stays_as_it_was(bundle: Bundle) -> None:
    before = {path: path.read_bytes() for path in bundle.path.rglob("*") if path.is_file()}
    lost: list[Missing] = []
    _, result = export_graphs(bundle, Unexportable(), precisions=("fp32", "fp16"), lost=lost.append)
    assert {path: path.read_bytes() for path in bundle.path.rglob("*") if path.is_file()} == before
    assert not [path for path in bundle.path.iterdir() if path.is_dir()]
    assert not Bundle.open(bundle.path).has("onnx/forward.fp32.onnx")
    assert lost == list(result.missing)
    assert [item.name for item in lost] == ["onnx/vjp.fp32.onnx", "onnx/forward.fp32.onnx", "onnx/forward.fp16.onnx"]
    assert lost[2].reason.startswith("`forward.fp16.onnx` is made from the fp32 graph: `Unexportable` cannot")
    with pytest.raises(ExportError, match=r"^`Unexportable` cannot be exported") as caught:
        result.check()
    assert caught.value is lost[1].error


def test_a_gradient_that_cannot_be_made_loses_nothing_else(bundle: Bundle, trunk: SmallTrunk) -> None:
    """The reason stays in the manifest."""
    part, result = export_graphs(bundle, Untraceable(trunk), precisions=("fp32",))
    assert [graph.path for graph in result.check().graphs] == ["onnx/forward.fp32.onnx"]
    (missing,) = result.missing
    assert (missing.name, missing.kind) == ("onnx/vjp.fp32.onnx", "vjp")
    assert json.loads(json.dumps(result.to_json()))["missing"] == [
        {"graph": missing.name, "kind": "vjp", "reason": missing.reason, "hint": missing.error.hint}
    ]
    opened = Bundle.open(part.path)
    assert opened.section("graphs")["missing"] == {"onnx/vjp.fp32.onnx": missing.reason}
    assert opened.file("onnx/forward.fp32.onnx").is_file()


@pytest.mark.slow
def test_what_was_missing_is_no_longer_once_it_is_made(bundle: Bundle, trunk: SmallTrunk) -> None:
    part, _ = export_graphs(bundle, Untraceable(trunk), precisions=("fp32",))
    whole, _ = export_graphs(part, trunk, precisions=())
    assert "missing" not in whole.section("graphs")
    assert sorted(whole.section("graphs")["files"]) == ["onnx/forward.fp32.onnx", "onnx/vjp.fp32.onnx"]
    again, result = export_graphs(whole, Untraceable(trunk), precisions=("fp32",))
    assert not result.complete
    assert "missing" not in again.section("graphs")  # the bundle keeps the one it had
    assert again.has("onnx/vjp.fp32.onnx")


def test_a_failing_int8_loses_neither_fp32_nor_fp16(bundle: Bundle, trunk: SmallTrunk) -> None:
    none = bundle.calibration().take(slice(0)).to_bytes(bundle.modality.input)
    bundle = bundle.add({"calibration.npz": none})
    part, result = export_graphs(bundle, trunk, precisions=("fp32", "fp16", "int8"), gradient=False)
    assert [graph.precision for graph in result.graphs] == ["fp32", "fp16"]
    assert [(item.name, item.error.message) for item in result.missing] == [
        ("onnx/forward.int8.onnx", "int8 needs calibration samples; found none")
    ]
    assert part.has("onnx/forward.fp16.onnx")


def test_what_is_finished_is_kept_whatever_ends_the_export(bundle: Bundle, trunk: SmallTrunk) -> None:
    def stop(name: str) -> None:
        if name == "forward.fp16.onnx":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_graphs(bundle, trunk, precisions=("fp32", "fp16"), gradient=False, report=stop)
    kept = Bundle.open(bundle.path)
    assert list(kept.section("graphs")["files"]) == ["onnx/forward.fp32.onnx"]
    assert kept.file("onnx/forward.fp32.onnx").is_file()
    assert not [path for path in bundle.path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(("package", "extra"), [("onnxscript", "export"), ("onnxruntime", "cpu")])
def test_missing_package(
    bundle: Bundle, trunk: SmallTrunk, monkeypatch: pytest.MonkeyPatch, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DependencyError) as caught:
        export_graphs(bundle, trunk)
    assert caught.value.hint == f"pip install 'advcal-edge[{extra}]'"
