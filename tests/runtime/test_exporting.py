"""Hints name the bundle that an engine lies in."""

from __future__ import annotations

from pathlib import Path

from tiny import BundleMaker

from advcal_edge.runtime.exporting import export_command


def test_names_the_bundle(make_bundle: BundleMaker, tmp_path: Path) -> None:
    bundle = make_bundle().path
    assert export_command(bundle / "onnx" / "forward.fp32.onnx") == f"`advcal-edge export {bundle}`"
    assert export_command(bundle / "engines" / "a.plan", "--trt") == f"`advcal-edge export {bundle} --trt`"
    assert export_command(tmp_path / "elsewhere.onnx") == "`advcal-edge export BUNDLE`"
