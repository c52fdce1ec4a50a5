"""`advcal-edge inspect`: says what is there, and never that a changed file is fine."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hostile import SECTIONS as WHOLE
from sample_report import abstaining
from tiny import SAMPLES, BundleMaker, Linear, report_for

from advcal_edge.cli import main
from advcal_edge.spec import thermal
from advcal_edge.storage import sha256_bytes

Capture = pytest.CaptureFixture[str]


def share(accuracy: float) -> dict[str, Any]:
    return {"accuracy": accuracy, "n": 80, "interval": [0.0, 1.0]}


SECTIONS: dict[str, Any] = {
    "encoder": WHOLE["encoder"],
    "adapter": WHOLE["adapter"],
    "metrics": {
        "threat": {"norm": "linf", "eps": 0.0157, "bounds": [0.0, 1.0]},
        "n": 80,
        "budgets": {"pgd": "PGD"},
        "before": {"clean": share(0.9), "worst": share(0.25)},
        "after": {"clean": share(0.875)},
    },
    "graphs": {
        "missing": {"onnx/vjp.fp32.onnx": "a sort cannot be traced"},
        "files": {"onnx/forward.fp32.onnx": {"precision": "fp32", "kind": "forward", "fidelity": {"cosine": 0.999987}}},
    },
}


def test_bare_bundle(make_bundle: BundleMaker, capsys: Capture) -> None:
    bundle = make_bundle(precisions=())
    assert main(["inspect", str(bundle.path)]) == 0
    out, err = capsys.readouterr()
    for text in (str(bundle.path), "thermal", "linf", "4 labels from test: car, cat, cup, person", f"{SAMPLES} probe"):
        assert text in out
    assert "all 3 files" in err
    assert "are as the manifest says, and so are its 4 sections" in err
    assert f"next: advcal-edge export {bundle.path}" in err


def test_whole_bundle(make_bundle: BundleMaker, capsys: Capture) -> None:
    bundle = make_bundle(verdicts={"fp32": "pass"}).add({}, **SECTIONS)
    assert main(["inspect", str(bundle.path)]) == 0
    out, err = capsys.readouterr()
    for text in (
        "bindlite",
        "Apache-2.0",
        "lora",
        "0.031",
        "accuracy %, n 80  clean  worst",
        "before             90.0   25.0",
        "cosine 1",
        "pass",
        "fp32",
        "onnx/vjp.fp32.onnx not made: a sort cannot be traced",
    ):
        assert text in out
    assert "a" * 13 not in out
    assert f"next: advcal-edge verify {bundle.path}" in err


def test_declared_settings(make_bundle: BundleMaker, capsys: Capture) -> None:
    assert main(["inspect", str(make_bundle().path)]) == 0
    assert "declared    nothing: units are the usual ones" in capsys.readouterr().out
    sensor = thermal(8).with_settings({"kelvin_per_count": "flir-tlinear-high", "assume_units": "yes"})
    assert main(["inspect", str(make_bundle(Linear.random(sensor)).path)]) == 0
    assert "declared    kelvin_per_count flir-tlinear-high  assume_units yes" in capsys.readouterr().out


def test_json(make_bundle: BundleMaker, capsys: Capture) -> None:
    bundle = make_bundle(verdicts={"fp32": "inconclusive"}).add({}, **SECTIONS)
    (bundle.path / "notes.txt").write_text("mine")
    assert main(["inspect", str(bundle.path), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    sha256 = sha256_bytes(Linear.random(thermal(8)).forward())
    assert data["hashes"] == "ok"
    assert data["metrics"] == SECTIONS["metrics"]
    assert data["graphs"]["onnx/forward.fp32.onnx"]["sha256"] == sha256
    assert data["reports"] == {
        f"reports/{sha256[:8]}/report.json": {
            "verdict": "inconclusive", "engine": sha256, "graph": "onnx/forward.fp32.onnx",
            "selftest": False, "abstention": None,
        }
    }  # fmt: skip
    assert data["unlisted"] == ["notes.txt"]
    assert data["samples"] == {"probe": SAMPLES}


def test_a_passing_report_shows_its_rule_and_its_self_test(make_bundle: BundleMaker, capsys: Capture) -> None:
    report = abstaining()
    rule, name = report["derived"]["abstention"], "reports/x/report.json"
    files = {name: json.dumps(report).encode(), "reports/x/selftest.npz": b"stored"}
    path = str(make_bundle().add(files).path)
    assert main(["inspect", path, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["reports"][name]
    assert (shown["selftest"], shown["abstention"]) == (True, {"threshold": rule["threshold"], "alpha": 0.05})
    assert main(["inspect", path]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(name))
    assert re.split("  +", row)[1::2] == ["pass", "stored"]
    assert row.endswith(f"{rule['threshold']:.4f} (alpha 0.05)")


@pytest.mark.parametrize(
    ("abstention", "shown"),
    [
        ({"alpha": 0.05, "threshold": None}, "nowhere (alpha 0.05)"),
        ({"alpha": "much", "threshold": 0.1}, "-"),
        ({"alpha": 0.05, "threshold": "\x1b[2J"}, "-"),
        (7, "-"),
    ],
)
def test_rules_that_hold_nowhere_or_are_none(
    make_bundle: BundleMaker, abstention: object, shown: str, capsys: Capture
) -> None:
    report = json.dumps({"derived": {"verdict": "pass", "abstention": abstention}}).encode()
    assert main(["inspect", str(make_bundle().add({"reports/x/report.json": report}).path)]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("reports/x"))
    assert re.split("  +", row)[3:] == ["-", shown]


def test_every_changed_file_is_found(make_bundle: BundleMaker, capsys: Capture) -> None:
    bundle = make_bundle(verdicts={"fp32": "pass"})
    for name in bundle.manifest["files"]:
        path = bundle.path / name
        whole = path.read_bytes()
        for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), None):
            path.unlink() if damaged is None else path.write_bytes(damaged)
            assert main(["inspect", str(bundle.path)]) == 2
            out, err = capsys.readouterr()
            assert out == ""
            assert name in err
            assert "are as the manifest says" not in err
        path.write_bytes(whole)
    assert main(["inspect", str(bundle.path)]) == 0


def test_report_on_a_graph_that_was_replaced(make_bundle: BundleMaker, capsys: Capture) -> None:
    name, data = report_for(b"another engine")
    assert main(["inspect", str(make_bundle().add({name: data, "reports/x/report.json": b"no json"}).path)]) == 0
    out = capsys.readouterr().out
    assert "a graph that is not in this bundle" in out


def test_sections_without_hashes_are_said_to_be_without(make_bundle: BundleMaker, capsys: Capture) -> None:
    path = make_bundle().path
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["sections"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert main(["inspect", str(path)]) == 0
    assert "no hashes tell whether its sections were edited" in capsys.readouterr().err


@pytest.mark.parametrize("metrics", [None, 7, [], {}, {"a": {"b": {"c": 1}}}, {"a": {"b": {"accuracy": "text"}}}])
def test_odd_sections_are_refused_by_name(make_bundle: BundleMaker, metrics: object, capsys: Capture) -> None:
    path = make_bundle().path
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "metrics": metrics}))
    assert main(["inspect", str(path)]) == 2
    assert "metrics" in capsys.readouterr().err


def test_what_killed_commands_left_is_told_apart(make_bundle: BundleMaker, capsys: Capture) -> None:
    bundle = make_bundle()
    staging = bundle.path / ".staging.abcdefgh.advcal"
    staging.mkdir()
    (staging / "forward.onnx").write_bytes(b"half")
    for folder, name in (
        (".B.old.abcdefgh.advcal", "B"),
        ("B.partial", "state.safetensors"),
        ("B.verify/ab", "run.json"),
    ):
        (bundle.path.parent / folder).mkdir(parents=True)
        (bundle.path.parent / folder / name).write_bytes(b"")
    (bundle.path / "notes.txt").write_text("mine")
    assert main(["inspect", str(bundle.path), "--json"]) == 0
    captured = capsys.readouterr()
    data = json.loads(captured.out)
    assert data["unlisted"] == ["notes.txt"]
    beside = bundle.path.parent
    assert {left["path"]: left["goes_on"] for left in data["leftovers"]} == {
        str(staging): None,
        str(beside / ".B.old.abcdefgh.advcal"): None,
        str(beside / "B.partial"): f"advcal-edge calibrate --out {bundle.path} --resume",
        str(beside / "B.verify" / "ab"): f"advcal-edge verify {bundle.path}",
    }
    assert f"`{staging}`, an unfinished file or folder; the next command that writes here removes it" in captured.err
    bundle.add({}, seed=1)
    assert not staging.exists()
    assert not (beside / ".B.old.abcdefgh.advcal").exists()
    with bundle.staging() as live:
        assert main(["inspect", str(bundle.path), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["leftovers"]
        assert str(live) not in [left["path"] for left in found]
        assert len(found) == 2
