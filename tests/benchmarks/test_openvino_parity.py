"""`benchmarks/openvino_parity.py`: every case of a real bundle ends in a row, and a peer runs elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from advcal_edge.bundle import Bundle
from advcal_edge.errors import DependencyError
from advcal_edge.runtime.backends.openvino import import_openvino


@pytest.mark.slow
def test_a_row_for_each_case(exported: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        openvino = import_openvino()
    except DependencyError as error:
        pytest.skip(error.message)
    from openvino_parity import CASES, main

    before = {path: path.read_bytes() for path in exported.path.rglob("*") if path.is_file()}
    out = tmp_path / "rows.json"
    main([str(exported.path), "--samples", "8", "--out", str(out)])
    written = json.loads(out.read_text())
    rows = {row["name"]: row for row in written["rows"]}
    assert list(rows) == [case.name for case in CASES]
    bf16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert ("refused" in rows["fp32, computed in bf16"]) == (not bf16)
    assert rows["fp32"]["comparisons"]["worst case"]["drop"] == 0
    assert "onnxruntime" in rows["int8 in ONNX Runtime"]["fingerprint"]
    assert f"int8-{written['cpu']['int8 products']}" in rows["int8"]["fingerprint"]
    assert capsys.readouterr().out.count("\n") > len(rows)
    assert {path: path.read_bytes() for path in exported.path.rglob("*") if path.is_file()} == before
