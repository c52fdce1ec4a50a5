"""A suite that is crafted on one machine and judged on another: it can convict an engine, and never verify one."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny import Linear, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.cli import main
from advcal_edge.runtime.engine import listed_digest
from advcal_edge.runtime.verified import find_verified
from advcal_edge.spec import image

N = 320
FEW = ["--samples", str(N), "--reference", "onnx", "--sources", "none"]
Arrays = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, and beside it a suite crafted on its fp32 graph."""
    folder = tmp_path_factory.mktemp("original")
    bundle = write_bundle(folder / "B", Linear.random(image(8)), ("fp32", "fp16", "int8"), {}, samples=N).path
    assert main(["verify", str(bundle), *FEW, "--engine", "fp32", "--craft", str(folder / "suite.npz")]) == 0
    return bundle


@pytest.fixture
def board(original: Path, tmp_path: Path) -> Path:
    """A copy on another machine."""
    shutil.copytree(original, tmp_path / "B")
    shutil.copy(original.with_name("suite.npz"), tmp_path)
    return tmp_path / "B"


def judge(board: Path, *options: str) -> int:
    return main(["verify", str(board), "--suite", str(board.with_name("suite.npz")), *options])


def document(board: Path) -> dict[str, Any]:
    (path,) = board.glob("reports/*/transfer.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_an_honest_engine_withstands_and_is_not_verified_by_that(
    board: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judge(board, "--engine", "fp16") == 0
    out = capsys.readouterr().out
    assert "WITHSTOOD" in out
    assert "transfer alone, no verification" in out
    found, bundle = document(board), Bundle.open(board)
    assert found["derived"]["verdict"] == "withstood"
    names = [item["name"] for item in found["derived"]["comparisons"]]
    assert names == ["clean", "crafted on reference", "crafted on fp32", "worst case"]
    assert not list(board.glob("reports/*/report.json"))
    assert not find_verified(bundle, listed_digest(bundle, "onnx/forward.fp16.onnx"))
    (path,) = board.glob("reports/*/transfer.json")
    assert main(["verify", str(board), "--check", str(path)]) == 2


def test_the_reference_is_judged_as_the_suite_says(original: Path, board: Path) -> None:
    assert judge(board, "--engine", "fp32") == 0
    found = document(board)["measured"]
    with np.load(original.with_name("suite.npz")) as suite:
        assert found["clean"] == suite["clean"].tolist()
        assert found["crafted"]["reference"] == suite["rank/reference"].tolist()


def test_a_broken_engine_fails(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = board.with_name("other.onnx")
    other.write_bytes(Linear.random(image(8), seed=5).forward())
    assert judge(board, "--engine", str(other)) == 1
    assert "FAIL" in capsys.readouterr().out
    assert document(board)["derived"]["verdict"] == "fail"


def test_too_few_samples_decide_nothing(board: Path, tmp_path: Path) -> None:
    few = ["--samples", "64", "--reference", "onnx", "--sources", "none", "--engine", "fp32"]
    assert main(["verify", str(board), *few, "--craft", str(tmp_path / "suite.npz")]) == 0
    assert judge(board, "--engine", "fp16") == 1
    assert document(board)["derived"]["verdict"] == "inconclusive"


def far(arrays: Arrays) -> Arrays:
    return {**arrays, "x/reference": np.clip(arrays["x/reference"] + np.float32(0.1), 0, 1)}


def head(**changes: object) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {**arrays, "head": np.array(json.dumps(json.loads(str(arrays["head"])) | changes))}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (far, "outside linf 4/255 around their samples"),
        (head(bundle="0" * 64), "was crafted for bundle 000000000000"),
        (head(data="0" * 64), "was crafted for data 000000000000"),
        (head(schema="advcal-edge/suite/0"), "is no suite"),
        (head(threat={"norm": "linf"}), "threat|norm|eps"),
        (head(budget=["quick"]), "does not say its budget"),
        (lambda arrays: {**arrays, "y": np.roll(arrays["y"], 1)}, "other true labels"),
        (lambda arrays: {**arrays, "clean": arrays["clean"][:-1]}, "no readable archive"),
        (lambda arrays: {**arrays, "x/reference": arrays["x/reference"][..., :-1]}, "another shape"),
        (lambda arrays: {**arrays, "x/reference": arrays["x/reference"] * np.float32("nan")}, "outside linf"),
        (lambda arrays: {**arrays, "head": np.array([{}], object)}, "no readable archive"),
    ],
)
def test_a_suite_that_is_none_is_refused(
    board: Path, change: Callable[[Arrays], Arrays], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = board.with_name("suite.npz")
    with np.load(io.BytesIO(path.read_bytes())) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez_compressed(path, **change(arrays))  # type: ignore[arg-type]
    assert judge(board, "--engine", "fp16") == 2
    err = capsys.readouterr().err
    assert any(word in err for word in words.split("|")), err
    assert "internal error" not in err
    assert not list(board.glob("reports/*"))


def test_modes_exclude_each_other(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert judge(board) == 2
    assert "judges one engine, and none is named" in capsys.readouterr().err
    assert judge(board, "--craft", "suite.npz") == 2
    assert "`--craft` and `--suite` exclude each other" in capsys.readouterr().err
    assert main(["verify", str(board), "--craft", "suite.npz", "--sequential"]) == 2
    assert "attacks a fixed number of samples" in capsys.readouterr().err
