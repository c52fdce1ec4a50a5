"""What `verify` takes for the calibrated model: it must give the embeddings and figures that `calibrate` stored."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import write_manifest
from test_verify import NO_TORCH, ONNX
from tiny import Linear, write_bundle

from advcal_edge.anchor import ANCHOR, anchor_bytes
from advcal_edge.bundle import MANIFEST, Bundle
from advcal_edge.cli import main
from advcal_edge.errors import EngineError
from advcal_edge.runtime import Embedder
from advcal_edge.spec import image

Capture = pytest.CaptureFixture[str]
LINEAR = Linear.random(image(4))


@pytest.fixture
def tiny(tmp_path: Path) -> Bundle:
    """A linear encoder, which is verified in a second."""
    return write_bundle(tmp_path / "B", LINEAR, ("fp32", "fp16"), {}, samples=220, gradient=True)


def verify(bundle: Bundle, capsys: Capture, *options: str, engine: str = "fp32") -> tuple[int, dict[str, Any]]:
    """Exit code and report of one engine; the reference is the fp32 graph."""
    arguments = ["verify", str(bundle.path), "--engine", engine, "--samples", "200", *ONNX, *options, "--json"]
    code = main(arguments)
    (report,) = json.loads(capsys.readouterr().out)["engines"]
    return code, report


def check(report: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in report["derived"]["checks"] if item["name"] == name)
    return found


def test_a_graph_may_be_its_own_reference_if_it_is_the_calibrated_model(tiny: Bundle, capsys: Capture) -> None:
    code, report = verify(tiny, capsys)
    assert (code, report["derived"]["verdict"]) == (0, "pass"), report["derived"]["reasons"]
    assert report["measured"]["reference"]["sha256"] == report["measured"]["engine"]["sha256"]
    assert check(report, "reference_anchored")["measured"] < 1e-6
    assert "what `calibrate` stored" in check(report, "independent_reference")["why"]
    assert {check(report, name)["required"] for name in ("reference_anchored", "independent_reference")} == {True}
    assert Embedder.load(tiny.path, "fp32", require_verified=True).verified


def damaged(bundle: Bundle) -> Bundle:
    """Every graph is that of another model, as if the export had left out the adapter."""
    other = Linear(LINEAR.modality, LINEAR.weights + 0.4 * Linear.random(image(4), seed=1).weights)
    graphs = {f"onnx/forward.{name}.onnx": other.forward(name) for name in ("fp32", "fp16")}
    return bundle.add({**graphs, "onnx/vjp.fp32.onnx": other.vjp()})


@pytest.mark.parametrize("engine", ["fp32", "fp16"])
def test_what_the_export_lost_is_seen_without_torch(tiny: Bundle, engine: str) -> None:
    arguments = ["verify", str(damaged(tiny).path), "--engine", engine, "--samples", "200", "--json"]
    done = subprocess.run([sys.executable, "-c", NO_TORCH, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    (report,) = json.loads(done.stdout)["engines"]
    assert report["measured"]["reference"]["kind"] == "onnx"
    assert report["derived"]["verdict"] == "fail"
    assert check(report, "reference_anchored")["status"] == "fail"
    assert check(report, "independent_reference")["status"] == ("fail" if engine == "fp32" else "pass")
    assert {c["verdict"] for c in report["derived"]["comparisons"]} == {"pass"}  # the two graphs agree


def row(bundle: Bundle, **changes: Any) -> dict[str, Any]:
    """The stated figures with other counts."""
    metrics = json.loads(json.dumps(bundle.manifest["metrics"]))
    for name, correct in changes.items():
        figure = metrics["after"][name]
        figure |= {"correct": correct, "hits": correct, "accuracy": correct / figure["n"]}
    return {"metrics": metrics}


FURTHER = [pytest.param(options, marks=pytest.mark.slow) for options in (("--norm", "l2"), ("--eps", "1/255"))]


@pytest.mark.parametrize("options", [(), ("--eps", "32/255"), *FURTHER], ids=str)
def test_raised_figures_are_seen_at_any_threat_model(tiny: Bundle, options: tuple[str, ...], capsys: Capture) -> None:
    honest = verify(tiny, capsys, *options)[1]
    assert check(honest, "figures_reproduced")["status"] == "pass"
    other = honest["measured"]["calibration"]["attacked"]
    assert (other is None) is (options in ((), ("--eps", "1/255")))
    raised = tiny.add({}, **row(tiny, worst=220))
    code, report = verify(raised, capsys, *options)
    assert code == 1
    assert check(report, "figures_reproduced")["status"] == "fail", check(report, "figures_reproduced")["why"]
    clean = tiny.manifest["metrics"]["after"]["clean"]["correct"]
    _, report = verify(tiny.add({}, **row(tiny, worst=0, clean=clean - 40)), capsys, *options)
    assert check(report, "figures_reproduced")["status"] == "fail", check(report, "figures_reproduced")["why"]


EDITS: dict[str, Any] = {
    "threat": {"norm": "linf", "eps": 1 / 255, "bounds": [0.0, 1.0]},
    "metrics": row,
    "seed": 7,
}


@pytest.mark.parametrize("name", EDITS)
def test_a_section_that_is_edited_after_verify_is_named(tiny: Bundle, name: str, capsys: Capture) -> None:
    assert verify(tiny, capsys)[0] == 0
    manifest = json.loads((tiny.path / MANIFEST).read_text())
    value = row(tiny, worst=200)["metrics"] if name == "metrics" else EDITS[name]
    (tiny.path / MANIFEST).write_text(json.dumps({**manifest, name: value}))
    for command in (["inspect"], ["verify"], ["embed", "x.png"], ["export"]):
        assert main([command[0], str(tiny.path), *command[1:]]) == 2
        said = capsys.readouterr().err
        assert f"the section `{name}` was {'edited' if name in manifest else 'added'} since it was written" in said


@pytest.mark.parametrize("name", EDITS)
def test_a_section_that_is_hashed_again_is_not_the_one_that_was_verified(
    tiny: Bundle, name: str, capsys: Capture
) -> None:
    _, report = verify(tiny, capsys)
    manifest = json.loads((tiny.path / MANIFEST).read_text())
    value = row(tiny, worst=200)["metrics"] if name == "metrics" else EDITS[name]
    write_manifest(tiny, {**manifest, name: value})
    place = tiny.path / "reports" / report["measured"]["engine"]["sha256"][:8] / "report.json"
    assert main(["verify", str(tiny.path), "--check", str(place)]) == 1
    assert "calibration" in capsys.readouterr().out
    assert not Embedder.load(tiny.path, "fp32").verified
    with pytest.raises(EngineError, match="no passing report"):
        Embedder.load(tiny.path, "fp32", require_verified=True)


def test_an_export_of_another_precision_leaves_a_verification_valid(tiny: Bundle, capsys: Capture) -> None:
    verify(tiny, capsys)
    tiny.add({"onnx/forward.int8.onnx": LINEAR.forward("int8")}, graphs=dict(tiny.manifest["graphs"]))
    assert Embedder.load(tiny.path, "fp32", require_verified=True).verified


def test_another_anchor_is_another_calibration(tiny: Bundle, capsys: Capture) -> None:
    verify(tiny, capsys)
    (tiny.path / ANCHOR).write_bytes(anchor_bytes(np.zeros((220, 6), np.float32)))
    assert main(["verify", str(tiny.path), "--engine", "fp32", *ONNX]) == 2
    assert f"`{tiny.path / ANCHOR}` was changed or truncated" in capsys.readouterr().err
    z = LINEAR.embed(tiny.probe().x).astype(np.float32)
    listed = tiny.add({ANCHOR: anchor_bytes(np.roll(z, 1, axis=0))})
    assert not Embedder.load(tiny.path, "fp32").verified
    code, report = verify(listed, capsys)
    assert (code, check(report, "reference_anchored")["status"]) == (1, "fail")


def test_a_bundle_without_an_anchor_is_not_verified(tiny: Bundle, capsys: Capture) -> None:
    tiny.remove([ANCHOR])
    assert main(["verify", str(tiny.path), *ONNX]) == 2
    said = capsys.readouterr().err
    assert f"has no `{ANCHOR}`" in said
    assert "calibrate again" in said
    assert main(["inspect", str(tiny.path)]) == 0


@pytest.mark.slow
def test_an_adapter_that_was_lost_at_export_of_a_trained_encoder(exported: Bundle, tmp_path: Path) -> None:
    from advcal_edge.calibrate.adapters import AdaptedModule
    from advcal_edge.calibrate.deploy import encoder_of
    from advcal_edge.export.graphs import export_graphs

    copy = Bundle.open(shutil.copytree(exported.path, tmp_path / "B"))
    module = AdaptedModule(encoder_of(copy).module()).eval().requires_grad_(False)
    export_graphs(copy, module, precisions=("fp32", "int8"))
    arguments = ["verify", str(copy.path), "--samples", "16", "--json"]
    done = subprocess.run([sys.executable, "-c", NO_TORCH, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    reports = json.loads(done.stdout)["engines"]
    assert {report["measured"]["engine"]["precision"] for report in reports} >= {"fp32", "int8"}
    for report in reports:
        assert report["derived"]["verdict"] == "fail"
        assert check(report, "reference_anchored")["measured"] > 0.01
