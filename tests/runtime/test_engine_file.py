"""An engine is read once, whole, with the weights beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import BundleMaker

from advcal_edge.errors import EngineError
from advcal_edge.runtime.engine_file import EngineFile, export_command, graph_digest
from advcal_edge.storage import sha256_bytes


def test_what_was_read_is_what_runs(tmp_path: Path) -> None:
    path = tmp_path / "f.onnx"
    path.write_bytes(b"graph")
    file = EngineFile.of(path)
    path.write_bytes(b"another")
    assert (file.path, file.data, file.weights, file.sha256) == (path, b"graph", {}, sha256_bytes(b"graph"))
    assert EngineFile.of(file) is file


def test_weights_beside_a_graph_belong_to_it(tmp_path: Path) -> None:
    path = tmp_path / "f.onnx"
    path.write_bytes(b"graph")
    path.with_name("f.onnx.data").write_bytes(b"weights")
    file = EngineFile.of(str(path))
    assert file.weights == {"f.onnx.data": b"weights"}
    assert file.sha256 == graph_digest(path) != sha256_bytes(b"graph")


def test_a_plan_has_no_weights_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "f.plan"
    path.write_bytes(b"plan")
    path.with_name("f.plan.data").write_bytes(b"weights")
    assert EngineFile.of(path).sha256 == sha256_bytes(b"plan")


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVCAL_MAX_ENGINE_BYTES", "5")
    path = tmp_path / "f.onnx"
    path.write_bytes(b"graph")
    assert EngineFile.of(path).data == b"graph"
    for name in ("f.onnx", "f.onnx.data"):
        (tmp_path / name).write_bytes(b"graphs")
        with pytest.raises(EngineError, match="6 bytes; expected at most 5"):
            EngineFile.of(path)
        (tmp_path / name).write_bytes(b"graph")


def test_hints_name_the_bundle_that_an_engine_lies_in(make_bundle: BundleMaker, tmp_path: Path) -> None:
    bundle = make_bundle().path
    assert export_command(bundle / "onnx" / "forward.fp32.onnx") == f"`advcal-edge export {bundle}`"
    assert export_command(bundle / "engines" / "a.plan", "--trt") == f"`advcal-edge export {bundle} --trt`"
    assert export_command(tmp_path / "elsewhere.onnx") == "`advcal-edge export BUNDLE`"
