"""`benchmarks/gpu.py` from end to end: every cell has a row, with figures or with the reason why there are none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

PROGRAM = Path(__file__).parent.parent.parent / "benchmarks" / "gpu.py"
BACKENDS = {
    "torch eager",
    "torch.compile",
    "torch.compile, CUDA graph",
    "ONNX Runtime",
    *(f"{product}{way}" for product in ("TensorRT", "TensorRT-RTX") for way in ("", ", CUDA graph")),
}
CRAFTING = {"random start of PGD", "PGD", "PGD, compiled", "PGD, compiled, CUDA graphs"}

Rows = list[dict[str, Any]]


def run(out: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    """The JSON and what was printed."""
    command = [sys.executable, str(PROGRAM), "--modalities", "thermal", "--batch", "1", "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text(encoding="utf-8")), done.stdout


def of(rows: Rows, part: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows of one part by backend and precision."""
    return {(row["backend"], row["precision"]): row for row in rows if row["part"] == part}


def check_rows(rows: Rows) -> None:
    """What holds for every row on every machine."""
    for row in rows:
        assert (row["value"] is None) == bool(row["reason"]), row
        if row["value"] is not None:
            value = row["value"]
            assert 0 < value["low"] <= value["median"] <= value["high"], row
            assert value["n"] >= 1
    for row in of(rows, "backend").values():
        if row["value"] is not None:
            assert row["samples_per_second"]["median"] > 0
            assert row["cosine"] > 0.99, row


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device, and this is about processors")
def test_runs_on_a_processor(tmp_path: Path) -> None:
    short = ("--encoder", "tiny", "--precisions", "fp32", "--seconds", "0.05", "--craft-steps", "2", "--skip-verify")
    result, printed = run(tmp_path / "gpu.json", *short)
    rows: Rows = result["rows"]
    check_rows(rows)

    backends = of(rows, "backend")
    assert {name for name, _ in backends} == BACKENDS
    for name in ("torch eager", "torch.compile", "ONNX Runtime"):
        row = backends[name, "fp32"]
        assert row["reason"] is None, row
        assert row["bound_milliseconds"] > 0
        assert row["times_bound"] == pytest.approx(row["value"]["median"] / row["bound_milliseconds"])
    assert "CPU provider" in backends["ONNX Runtime", "fp32"]["note"]
    for name in BACKENDS - {"torch eager", "torch.compile", "ONNX Runtime"}:
        assert len(backends[name, "fp32"]["reason"]) > len("not available: ")

    ceilings = of(rows, "roofline")
    assert "TF32" in ceilings["matrix product", "tf32"]["reason"]
    peak = ceilings["matrix product", "fp32"]["value"]["median"]
    bandwidth = ceilings["copy in memory", ""]["value"]["median"]
    cost = result["costs"]["thermal"]
    passing = 4 * (cost["parameters"] + cost["values"])
    expected = 1000 * max(cost["forward"] / (peak * 1e12), passing / (bandwidth * 1e9))
    assert backends["torch eager", "fp32"]["bound_milliseconds"] == pytest.approx(expected)

    crafted = of(rows, "crafting")
    plain = crafted["PGD", "fp32"]
    work = plain["value"]["median"] * 2 * cost["both"]
    assert plain["share_of_peak"] == pytest.approx(work / (peak * 1e12))
    step = [row for row in rows if row["part"] == "calibrating" and row["backend"] == "calibrate"]
    assert [row["modality"] for row in step] == ["ImageBind thermal", "LanguageBind image"]
    for row in step:
        assert row["times_peer"]["median"] > 0
        assert row["share_of_peak"] == pytest.approx(row["value"]["median"] * row["operations"] / (peak * 1e12))
        assert row["memory_bytes"] is None
        assert "CUDA" in row["memory_reason"]
    assert {row["reason"] for row in of(rows, "verify").values()} == {"left out, as asked"}
    for row in rows:
        assert row["backend"] in printed
    assert printed.count("goal: ") == 5
    assert result["device"]["kind"] == "cpu"


@pytest.mark.gpu
def test_runs_on_a_gpu(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    short = ("--precisions", "fp32,bf16", "--seconds", "0.2", "--minutes", "5", "--skip-verify")
    result, _ = run(tmp_path / "gpu.json", *short)
    rows: Rows = result["rows"]
    check_rows(rows)
    assert {name for name, _ in of(rows, "backend")} == BACKENDS
    assert {name for name, _ in of(rows, "crafting")} == CRAFTING
    assert result["device"]["kind"] == "cuda"
    assert all(row["reason"] is None for row in of(rows, "roofline").values())
    for precision in ("fp32", "bf16"):
        for name in ("torch eager", "torch.compile", "torch.compile, CUDA graph"):
            row = of(rows, "backend")[name, precision]
            assert row["reason"] is None, row
            assert row["times_bound"] > 0.8, row  # less would be a bound that is none
    for (name, precision), row in of(rows, "crafting").items():
        assert row["reason"] is None, row
        if name != "random start of PGD":
            assert 0 < row["share_of_peak"] < 1.1
            assert row["cosine"] > 0.9, (name, precision)
    steps = [row for row in rows if row["part"] == "calibrating"]
    assert len(steps) == 6
    for row in steps:
        assert row["reason"] is None, row
        assert 0 < row["share_of_peak"] < 1.1, row
        assert row["cosine"] > 0.9, row
        assert 0.5 < row["memory_bytes"] / row["memory_estimate_bytes"] < 1.2, row


def test_refuses_what_it_does_not_know() -> None:
    command = [sys.executable, str(PROGRAM), "--precisions", "fp32,fp8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unknown fp8" in done.stderr
