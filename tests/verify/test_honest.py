"""No false alarm: twenty-one honest exports of seven sensors and two seeds, and not one check that fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from runs import failed, verify_all

from advcal_edge.bundle import Bundle
from advcal_edge.calibrate.deploy import module_from_bundle
from advcal_edge.calibrate.presets import configure
from advcal_edge.calibrate.run import calibrate
from advcal_edge.export.graphs import export_graphs
from advcal_edge.verify import BUDGETS
from advcal_edge.verify.census.explanation import find_explanation
from advcal_edge.verify.elsewhere import calibration_inputs
from advcal_edge.verify.models import open_backward_graph, open_engine, open_frozen_encoder, open_torch_reference

SAMPLES = 200
PRECISIONS = ("fp32", "fp16", "int8")
BRIEF: dict[str, Any] = {"train": {"samples": 256, "epochs": 1}, "evaluate": {"samples": 8, "steps": 2, "queries": 5}}
EXPORTS = [("image", 0), ("image", 1), ("thermal", 0), ("depth", 0), ("audio", 0), ("imu", 0), ("point", 0)]


def make(modality: str, seed: int, folder: Path) -> Bundle:
    """A bundle calibrated for a moment and exported for real."""
    bundle = calibrate(configure(modality=modality, seed=seed, out=str(folder / "B"), **BRIEF)).bundle
    return export_graphs(bundle, module_from_bundle(bundle), precisions=PRECISIONS)[0]


@pytest.mark.slow
@pytest.mark.parametrize(("modality", "seed"), EXPORTS)
def test_honest_exports_raise_no_alarm(modality: str, seed: int, tmp_path: Path) -> None:
    bundle = make(modality, seed, tmp_path)
    backward = open_backward_graph(bundle)
    own = find_explanation(bundle)
    engines = {
        p: open_engine(bundle, bundle.file(f"onnx/forward.{p}.onnx"), backward, explanation=own) for p in PRECISIONS
    }
    reference = open_torch_reference(bundle)
    sources = {"trunk": open_frozen_encoder(bundle), **engines}
    probe = bundle.probe().head(SAMPLES)
    reports = verify_all(
        reference,
        engines,
        bundle.modality,
        probe,
        bundle.threat,
        sources=sources,
        budget=BUDGETS["quick"],
        calibration=calibration_inputs(bundle),
    )
    for name, report in reports.items():
        worst = next(item for item in report["derived"]["comparisons"] if item["name"] == "worst case")
        verdict = report["derived"]["verdict"]
        print(f"{modality} seed {seed} {name}: {verdict}, +{worst['only_engine']}/-{worst['only_reference']}")
        for check in report["derived"]["checks"]:
            if check["measured"] is not None:
                print(f"    {check['name']} {check['measured']:.4g} {check['limit']}")
    alarms = {name: failed(report) for name, report in reports.items() if failed(report)}
    assert not alarms
    for name in ("fp32", "fp16"):
        assert reports[name]["derived"]["verdict"] == "pass", reports[name]["derived"]["reasons"]
