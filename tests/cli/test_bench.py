"""`advcal-edge bench`: the bundle's own samples, and the conditions stated with the figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny import SAMPLES, BundleMaker

from advcal_edge.cli import main

Capture = pytest.CaptureFixture[str]


def test_table_and_conditions(make_bundle: BundleMaker, capsys: Capture) -> None:
    path = make_bundle().path
    assert main(["bench", str(path), "--batch", "1, 8", "--seconds", "0", "--threads", "1"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("batch  what")
    assert [line.split()[0] for line in lines[1:]] == ["1", "1", "8", "8"]
    assert [line.count("embed and label") for line in lines[1:]] == [0, 1, 0, 1]
    for condition in ("cores", " 1 thread,", "warm-up", "preprocessing only of a raw frame", "fp32", "sha256:"):
        assert condition in err


def test_json(make_bundle: BundleMaker, capsys: Capture) -> None:
    size = SAMPLES + 5  # more than the bundle keeps: its samples repeat
    command = ["bench", str(make_bundle().path), "--batch", str(size), "--seconds", "0", "--json"]
    assert main(command) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["preprocessing_included"] is False
    assert data["threads"] is None
    result, labelled = data["results"]
    assert (result["what"], labelled["what"]) == ("embed", "embed and label")
    assert all(one["low"] <= one["ratio"] <= one["high"] for one in data["results"])
    assert result["batch"] == size
    assert result["call"]["p50"] > 0
    assert result["bare"]["p50"] > 0


@pytest.mark.parametrize("batch", ["", "0", "1,", "a", "-1", "1.5", "1;8", "²", "9" * 5000])
def test_batches_that_are_none(make_bundle: BundleMaker, batch: str, capsys: Capture) -> None:
    assert main(["bench", str(make_bundle().path), f"--batch={batch}"]) == 2
    assert "expected positive whole numbers" in capsys.readouterr().err


def test_bundle_without_graphs(make_bundle: BundleMaker, capsys: Capture) -> None:
    assert main(["bench", str(make_bundle(precisions=()).path)]) == 2
    assert "advcal-edge export" in capsys.readouterr().err


def test_a_raw_frame(make_bundle: BundleMaker, tmp_path: Path, capsys: Capture) -> None:
    np.save(tmp_path / "frame.npy", np.random.default_rng(0).integers(29000, 30000, (120, 160), dtype=np.uint16))
    command = [
        "bench",
        str(make_bundle().path),
        "--batch",
        "1",
        "--seconds",
        "0",
        "--frame",
        str(tmp_path / "frame.npy"),
    ]
    assert main([*command, "--frame", str(tmp_path / "frame.npy")]) == 0
    out, err = capsys.readouterr()
    assert "raw frame" in out.splitlines()[-1]
    assert "frame: uint16 (120, 160)" in err
