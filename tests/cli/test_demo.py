"""The whole road on the embedded encoders, as a first-time user walks it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from advcal_edge.bundle import Bundle
from advcal_edge.cli import main
from advcal_edge.columns import COLUMNS
from advcal_edge.encoders.bindlite import PARTNER
from advcal_edge.runtime import Embedder
from advcal_edge.spec import MODALITIES


@pytest.mark.slow
@pytest.mark.parametrize("modality", MODALITIES)
def test_demo_calibrates_exports_verifies_and_runs(
    modality: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--modality", modality, "--out", str(tmp_path / "B"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["modality"] == modality
    assert document["samples"] >= 200
    for row in ("before", "after"):
        assert set(document[row]) - {"recall"} == set(COLUMNS)
        assert ("recall" in document[row]) == (modality in PARTNER)
    before, after = (document[row]["worst"] for row in ("before", "after"))
    assert after["accuracy"] > before["accuracy"]  # the default adapter helps against attacks that see it
    if modality != "imu":  # forty recordings are too few to say so
        assert after["interval"][0] > before["interval"][1]
    engines = {engine["precision"]: engine for engine in document["engines"]}
    assert list(engines) == ["fp32", "fp16", "int8"]
    assert engines["fp32"]["verdict"] == "pass"
    assert document["verdict"] == "pass"
    bundle = Bundle.open(Path(document["bundle"]))
    for name in bundle.manifest["files"]:
        bundle.file(name)
    for engine in engines.values():
        assert "<svg" in Path(engine["report"]).read_text()
    assert Embedder.load(bundle.path, require_verified=True).verified


def test_an_unknown_modality_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--modality", "thermo", "--out", str(tmp_path / "B")]) == 2
    captured = capsys.readouterr()
    assert "did you mean `thermal`?" in captured.err
    assert captured.out == ""
    assert not (tmp_path / "B").exists()
