"""A bundle whose gradient cannot be exported: what is kept, where the gradient then comes from, and what hints say."""

from __future__ import annotations

import copy
import io
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import untraceable
from jsonschema import Draft202012Validator
from saboteurs import coarse_weights, rounded_input, sabotage
from tiny import metrics

from advcal_edge.anchor import ANCHOR, anchor_bytes
from advcal_edge.bundle import Bundle
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.calibrate.run import calibrate
from advcal_edge.cli import main
from advcal_edge.config import Layer, resolve
from advcal_edge.consent import Consent
from advcal_edge.report.html import render_html
from advcal_edge.report.terms import Terms
from advcal_edge.report.text import verification_table
from advcal_edge.verify.audit import audit
from advcal_edge.verify.findings import Finding
from advcal_edge.verify.model_set import embed
from advcal_edge.verify.models import open_torch_reference

Capture = pytest.CaptureFixture[str]
FORWARD, VJP = "onnx/forward.fp32.onnx", "onnx/vjp.fp32.onnx"
OWN = ("--encoder", "untraceable:encoder")
FEW = ("--samples", "64", "--margin", "0.06", "--sources", "none")
"""Of 64 samples without a flip the drop is below 5.7 points."""
SCHEMA = json.loads((Path(__file__).parents[2] / "advcal_edge/report/report.schema.json").read_text())


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def hint(err: str) -> str:
    """The hint of an error."""
    (line,) = (line for line in err.splitlines() if line.startswith("hint: "))
    return line


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calibrated and not yet exported; of a small radius, at which it withstands some attacks."""
    out = tmp_path_factory.mktemp("untraceable") / "B"
    layers: Sequence[Layer] = [
        Layer("test", {"modality": "imu", "out": str(out)}),
        Layer("test", {"adapter": {"kind": "identity"}, "threat": {"eps": 0.25 / 255}, "train": {"samples": 64}}),
        Layer("test", {"evaluate": {"samples": 8, "steps": 2, "queries": 5}}),
    ]
    bundle, own = calibrate(resolve(CalibrateConfig, layers)).bundle, untraceable.encoder("imu")
    section = {**bundle.section("encoder"), "name": own.name, "weights_sha256": own.fingerprint}
    bundle = bundle.add({}, encoder=section)
    z = embed(open_torch_reference(bundle, Consent(encoder=own.name)), bundle.probe().x)
    right = bundle.centers().predict(z) == bundle.probe().y
    return bundle.add(
        {ANCHOR: anchor_bytes(z)}, metrics=metrics(bundle.threat, right[:8])
    ).path  # as if it were calibrated


@dataclass(frozen=True)
class Exported:
    """A bundle after an export of fp32 and the gradient: the exit code, and what was printed."""

    bundle: Path
    code: int
    document: dict[str, Any]
    said: list[str]


@pytest.fixture(scope="module")
def exported_once(path: Path) -> Exported:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run("export", path, "--precision", "fp32", "--json", *OWN)
    return Exported(path, code, json.loads(out.getvalue()), err.getvalue().splitlines())


@pytest.fixture
def bundle(exported_once: Exported) -> Path:
    """The bundle, without a gradient graph."""
    return exported_once.bundle


@pytest.fixture(scope="module")
def report(exported_once: Exported) -> dict[str, Any]:
    """The report of an honest engine, with its gradient from torch."""
    path = exported_once.bundle
    assert run("verify", path, "--engine", "fp32", *FEW, *OWN) == 0
    (file,) = path.glob("reports/*/report.json")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_an_export_keeps_what_it_finished_and_says_what_is_missing(exported_once: Exported) -> None:
    said, path = exported_once.said, exported_once.bundle
    assert exported_once.code == 1
    (missing,) = exported_once.document["missing"]
    assert (missing["graph"], missing["kind"]) == (VJP, "vjp")
    (line,) = (line for line in said if line.startswith("gradient graph not made: "))
    assert missing["reason"] in line
    assert line.endswith("where torch is installed, and elsewhere these engines cannot be verified")
    assert said.index(line) < said.index("writing forward.fp32.onnx")  # what is likeliest to fail comes first
    assert f"wrote 1 of 2 graphs to `{path / 'onnx'}`" in said
    assert [graph["path"] for graph in exported_once.document["graphs"]] == [FORWARD]
    assert Bundle.open(path).has(FORWARD)


@pytest.mark.slow
def test_a_search_for_parity_needs_no_gradient_graph(bundle: Path, tmp_path: Path, capsys: Capture) -> None:
    copytree(bundle, tmp_path / "B")
    search = ("--precision", "fp16", "--until-parity", "--samples", "64", "--margin", "0.06", "--json")
    assert run("export", tmp_path / "B", *search, "--no-gradient", *OWN) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["missing"] == []
    assert document["searches"][0]["reached"] == "as built"
    assert run("export", tmp_path / "B", *search, *OWN) == 1  # it passes again, and the gradient is missing
    document = json.loads(capsys.readouterr().out)
    assert [item["graph"] for item in document["missing"]] == [VJP]
    assert document["searches"][0]["reached"] == "as built"


def test_verify_takes_the_gradient_from_torch_and_passes(bundle: Path, report: dict[str, Any], capsys: Capture) -> None:
    engine, reference = report["measured"]["engine"], report["measured"]["reference"]
    assert report["derived"]["verdict"] == "pass"
    assert (engine["gradient_from"], engine["gradient"]) == ("torch", reference["fingerprint"])
    assert not [check for check in report["derived"]["checks"] if check["required"] and check["status"] == "skipped"]
    assert [item for item in report["measured"]["attacks"] if item["route"] == "gradient"]
    assert list(Draft202012Validator(SCHEMA).iter_errors(report)) == []
    assert f"gradient  from the torch module, {engine['gradient']}" in verification_table(report)
    page = render_html(report)
    assert "from the torch module, at inputs that the engine embeds" in page
    assert "Weights behind the torch gradient" in page
    (file,) = bundle.glob("reports/*/report.json")
    assert run("verify", "--check", file, "--margin", "0.06") == 0


def changed(report: dict[str, Any], bundle: Path, **engine: object) -> list[Finding]:
    """What an audit says of the report with another engine section, and `hash` in place of the gradient's."""
    document = copy.deepcopy(report)
    if "hash" in engine:
        document["measured"]["hashes"]["gradient"] = engine.pop("hash")
    document["measured"]["engine"] |= engine
    opened = Bundle.open(bundle)
    return [item for item in audit(document, opened, None, Terms(opened.threat, 0.06)) if item.status != "ok"]


@pytest.mark.parametrize(
    "change",
    [
        {"gradient": "torch 2.13.0 cpu 000000000000"},  # of another module than the reference
        {"hash": "0" * 64},
        {"gradient_from": "graph"},
        {"gradient_from": "plan"},
    ],
)
def test_an_audit_compares_the_gradient(report: dict[str, Any], bundle: Path, change: dict[str, object]) -> None:
    assert changed(report, bundle) == []
    assert changed(report, bundle, **change)


@pytest.mark.parametrize(
    "edit", [pytest.param(partial(coarse_weights, bits=2), marks=pytest.mark.slow, id="two bits"), rounded_input]
)
def test_a_broken_engine_is_rejected_with_a_gradient_from_torch(
    bundle: Path, report: dict[str, Any], edit: Any, tmp_path: Path, capsys: Capture
) -> None:
    broken = sabotage(bundle / FORWARD, tmp_path / "broken.onnx", edit)
    assert run("verify", bundle, "--engine", broken, "--gradient", "torch", *FEW, *OWN, "--json") == 1
    (document,) = json.loads(capsys.readouterr().out)["engines"]
    assert document["measured"]["engine"]["gradient_from"] == "torch"
    assert document["derived"]["verdict"] == "fail"


def test_the_onnx_reference_takes_the_gradient_from_torch_too(bundle: Path, capsys: Capture) -> None:
    few = ("--samples", "8", "--sources", "none", "--reference", "onnx", "--json")
    assert run("verify", bundle, "--engine", "fp32", *few, *OWN) == 1  # eight samples decide nothing
    (document,) = json.loads(capsys.readouterr().out)["engines"]
    assert document["measured"]["reference"]["gradient_from"] == "torch"
    assert document["derived"]["verdict"] == "inconclusive"
    assert list(Draft202012Validator(SCHEMA).iter_errors(document)) == []


def test_no_two_hints_point_at_each_other(
    exported_once: Exported, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the gradient cannot be exported, `export` is not the cure that `verify` names, nor the other way round."""
    bundle = exported_once.bundle
    (missing,) = exported_once.document["missing"]
    assert "verify" not in missing["hint"]
    assert "--no-gradient" not in missing["hint"]

    assert run("verify", bundle, "--gradient", "graph", *OWN) == 2
    err = capsys.readouterr().err
    assert "has no gradient graph (it cannot be exported: " in err
    assert "export" not in hint(err)
    assert "leave out `--gradient`" in hint(err)  # and then it passes, see above

    without_torch(monkeypatch)
    for options in ((), ("--gradient", "torch"), ("--reference", "onnx")):
        assert run("verify", bundle, *options, *OWN) == 2
        err = capsys.readouterr().err
        assert "needs the package `torch`" in err
        assert "advcal-edge export" not in hint(err)
        assert "pip install 'advcal-edge[calibrate]'" in hint(err)


def test_a_gradient_that_nobody_tried_to_export_is_worth_trying(
    bundle: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    copytree(bundle, tmp_path / "B")
    opened = Bundle.open(tmp_path / "B")
    section = {name: value for name, value in opened.section("graphs").items() if name != "missing"}
    opened.add({}, graphs=section)
    without_torch(monkeypatch)
    assert run("verify", opened.path, *OWN) == 2
    assert f"advcal-edge export {opened.path}" in hint(capsys.readouterr().err)


def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where it is not installed."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "advcal_edge.calibrate.deploy", raising=False)


def test_an_unknown_source_of_the_gradient(bundle: Path, capsys: Capture) -> None:
    assert run("verify", bundle, "--gradient", "touch", *OWN) == 2
    assert "did you mean `torch`?" in capsys.readouterr().err
