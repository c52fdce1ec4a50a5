"""Broken engines must fail and honest ones must pass: the verifier is tested by lying to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from saboteurs import GRAPHS, StaleBuffer, sabotage

from advcal_edge.attacks import Victim
from advcal_edge.bundle import Bundle
from advcal_edge.calibrate.deploy import module_from_bundle
from advcal_edge.cli.victims import engine_victim
from advcal_edge.export.forward import export_forward
from advcal_edge.export.fp16 import convert_fp16
from advcal_edge.runtime.onnx_session import EngineGradient, OnnxVjp
from advcal_edge.verify import Verification

CAUGHT_BY: Mapping[str, set[str]] = {
    "coarse_weights": {"drift_within_margin"},
    "shuffled_outputs": {"clean", "drift_within_margin"},
    "constant_output": {"clean", "huge_eps"},
    "added_noise": {"repeatable"},
    "rounded_input": {"finite_differences"},
    "leaking_rows": {"batch_independent"},
    "overflowing": {"unit_norm", "drift_within_margin"},
}


def run(prepared: Verification, victim: Victim, info: Mapping[str, Any]) -> dict[str, Any]:
    return prepared.run(victim, engine_info=info, reference_info={"kind": "torch"}, context={}).to_json()


def failed(report: Mapping[str, Any]) -> set[str]:
    """Names of required checks and deciding comparisons that failed."""
    checks = {c["name"] for c in report["checks"] if c["required"] and c["status"] == "fail"}
    return checks | {c["name"] for c in report["comparisons"] if c["decides"] and c["verdict"] == "fail"}


@pytest.mark.parametrize("name", GRAPHS)
def test_sabotaged_graphs_fail(exported: Bundle, prepared: Verification, workshop: Path, name: str) -> None:
    path = sabotage(exported.file("onnx/forward.fp32.onnx"), workshop / f"{name}.onnx", GRAPHS[name])
    report = run(prepared, *engine_victim(exported, path))
    assert report["verdict"] == "fail", report["checks"]
    assert failed(report) >= CAUGHT_BY[name], failed(report)
    assert report["reasons"]


def test_a_stale_buffer_fails(exported: Bundle, prepared: Verification) -> None:
    honest, info = engine_victim(exported, exported.file("onnx/forward.fp32.onnx"))
    stale = StaleBuffer(honest.runner)
    backward = OnnxVjp(exported.file("onnx/vjp.fp32.onnx"), exported.modality.input)
    report = run(prepared, Victim(stale, honest.centers, EngineGradient(stale, backward)), info)
    assert report["verdict"] == "fail"
    assert "repeatable" in failed(report)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_honest_engines_pass(exported: Bundle, prepared: Verification, precision: str) -> None:
    report = run(prepared, *engine_victim(exported, exported.file(f"onnx/forward.{precision}.onnx")))
    assert report["verdict"] == "pass", report["reasons"]
    assert not failed(report)
    assert {check["status"] for check in report["checks"]} == {"pass"}


def test_an_honest_int8_engine_raises_no_alarm(exported: Bundle, prepared: Verification) -> None:
    report = run(prepared, *engine_victim(exported, exported.file("onnx/forward.int8.onnx")))
    assert report["verdict"] in ("pass", "inconclusive"), report["reasons"]  # 200 samples may not decide its flips
    assert not {check["name"] for check in report["checks"] if check["status"] == "fail"}


def test_an_honest_re_export_passes(exported: Bundle, prepared: Verification, workshop: Path) -> None:
    path, half = workshop / "opset18.onnx", workshop / "opset18.fp16.onnx"
    export_forward(module_from_bundle(exported), exported.modality.input, path, opset=18)
    convert_fp16(path, half)
    report = run(prepared, *engine_victim(exported, half))
    assert report["verdict"] == "pass", report["reasons"]
    assert report["engine"]["listed"] is False
    assert report["engine"]["path"] == "opset18.fp16.onnx"


def test_without_a_gradient_graph_the_verdict_is_open(exported: Bundle, prepared: Verification) -> None:
    honest, info = engine_victim(exported, exported.file("onnx/forward.fp32.onnx"))
    report = run(prepared, Victim(honest.runner, honest.centers), info)
    assert report["verdict"] == "inconclusive"
    skipped = {check["name"] for check in report["checks"] if check["status"] == "skipped"}
    assert {"eps_zero", "huge_eps", "gradients_alive", "finite_differences", "black_box_not_stronger"} <= skipped
    assert any("skipped" in reason for reason in report["reasons"])
