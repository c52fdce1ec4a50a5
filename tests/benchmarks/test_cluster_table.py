"""`benchmarks/cluster.py` on a tiny bundle: the same report with any number of workers, and a table that adds up."""

from __future__ import annotations

from math import ceil

import pytest
from cluster import IMAGINED, MILLION, Row, main, paper_table
from tiny import BundleMaker


def test_both_tables_are_printed(make_bundle: BundleMaker, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = make_bundle()
    assert main([str(bundle.path), "--samples", "12", "--reference", "onnx", "--workers", "1,2"]) == 0
    out = capsys.readouterr().out
    assert "| 1 process |" in out
    assert "| 2 processes |" in out
    assert len([line for line in out.splitlines() if line.startswith("| ")]) == 2 + 2 + len(IMAGINED)


def test_the_extrapolation_is_arithmetic() -> None:
    row = Row("1 process", 1, 100.0, 1.0, 36.0, 90.0, 8.0, 7.2, "0" * 64)
    lines = list(paper_table(row, blocks=8, parcel=10**9, state=8 * 10**6))[2:]
    cells = [cell.strip() for cell in lines[1].strip("|").split("|")]
    blocks = ceil(MILLION / 64)
    each = ceil(blocks / 16)
    assert cells[:2] == ["16", str(each)]
    assert float(cells[2]) == pytest.approx((36 + each * 7.2) / 3600, abs=0.01)
    assert float(cells[3]) == pytest.approx(blocks / 3600, abs=0.01)
    assert cells[4:] == ["16.00", f"{blocks / 1000:.2f}"]
