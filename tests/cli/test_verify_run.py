"""Runs of `advcal-edge verify` that are cut off, spread over machines, rebuilt, or checked afterwards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny import Linear, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.cli import main
from advcal_edge.spec import image

N = 150
FEW = ["--engine", "fp16", "--samples", str(N), "--reference", "onnx"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    linear = Linear.random(image(8))
    return write_bundle(tmp_path / "B", linear, ("fp32", "fp16"), {}, samples=N, gradient=True).path


def only_report(bundle: Path) -> dict[str, Any]:
    """The one report in a bundle, without what differs between two runs."""
    (path,) = bundle.glob("reports/*/report.json")
    report: dict[str, Any] = json.loads(path.read_text())
    del report["measured"]["seconds"]
    return report


def test_shards_are_merged_into_the_report_of_a_whole_run(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(copy), *FEW]) in (0, 1)
    whole = only_report(copy)
    shutil.rmtree(copy / "reports")
    assert main(["verify", str(copy), *FEW, "--shard", "2/2"]) == 0
    assert main(["verify", str(copy), "--merge"]) == 2
    assert "the run is not complete; missing: the checks of fp16; 2 of 3 blocks (0, 2)" in capsys.readouterr().err
    assert main(["verify", str(copy), *FEW, "--shard", "1/2", "--json"]) == 0
    shard = json.loads(capsys.readouterr().out)
    assert shard["missing"] == []
    assert not list(copy.glob("reports/*"))
    assert main(["verify", str(copy), "--merge"]) in (0, 1)
    assert only_report(copy) == whole
    assert not copy.with_name("B.verify").exists()


def test_an_interrupted_run_goes_on(
    copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from advcal_edge.cli.console import Console

    real = Console.progress

    def cut(self: Console, stage: str, done: int, total: int) -> None:
        if stage == "attack" and done > total / 2:
            raise KeyboardInterrupt
        real(self, stage, done, total)

    with monkeypatch.context() as patched:
        patched.setattr(Console, "progress", cut)
        assert main(["verify", str(copy), *FEW]) == 130
    assert not (copy / "reports").exists()
    capsys.readouterr()
    assert main(["verify", str(copy), *FEW]) in (0, 1)
    assert "1 of 3 blocks of samples are done already" in capsys.readouterr().err
    assert only_report(copy)["derived"]["samples"] == N


def test_a_report_holds_until_something_is_changed(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(copy), *FEW]) in (0, 1)
    (path,) = copy.glob("reports/*/report.json")
    capsys.readouterr()
    assert main(["verify", "--check", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["holds"] is True
    assert {finding["status"] for finding in told["findings"]} == {"ok"}

    document = json.loads(path.read_text())
    ranks = document["measured"]["clean"]["engine"]
    ranks[0] = 1 - min(ranks[0], 1)
    elsewhere = copy.parent / "report.json"
    elsewhere.write_text(json.dumps(document))
    assert main(["verify", str(copy), "--check", str(elsewhere)]) == 1
    assert "WRONG" in capsys.readouterr().out
    assert main(["verify", "--check", str(elsewhere)]) == 2
    assert "lies in no bundle" in capsys.readouterr().err

    path.write_text(json.dumps(document))
    assert main(["verify", "--check", str(path)]) == 2
    assert "was changed or truncated" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": "advcal-edge/report/1"}', "nan"])
def test_what_is_no_report_is_2(copy: Path, tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "report.json").write_text(content)
    assert main(["verify", str(copy), "--check", str(tmp_path / "report.json")]) == 2
    assert "error: " in capsys.readouterr().err
    assert main(["verify", str(copy), "--check", str(tmp_path / "missing.json")]) == 2


@pytest.mark.slow
def test_builds_of_the_same_bytes_share_a_report(
    exported: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "B"
    shutil.copytree(exported.path, target)
    asked = ["--engine", "fp32", "--samples", "8", "--sources", "none", "--rebuilds", "2"]
    assert main(["verify", str(target), *asked]) == 1
    report = only_report(target)
    rebuilds = report["derived"]["rebuilds"]
    assert (rebuilds["asked"], rebuilds["distinct"], rebuilds["spread"]) == (2, 1, 0.0)
    assert [build["sha256"] for build in rebuilds["builds"]] == 3 * [report["measured"]["engine"]["sha256"]]
    assert "3 builds" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--shard", "3/2"], "`--shard 3/2` does not exist"),
        (["--shard", "1/2", "--merge"], "`--shard` and `--merge` exclude each other"),
        (["--shard", "1/2", "--rebuilds", "1"], "`--shard` and `--rebuilds` exclude each other"),
        (["--merge", "--state", "nowhere"], "holds 0 runs"),
        (["--sources", "fp23"], "did you mean `fp32`?"),
        (["--sources", "trunk"], "unknown source `trunk`"),
        (["--losses", ""], "`--losses` is empty"),
    ],
)
def test_impossible_requests_are_2(
    copy: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(copy), *FEW, *options]) == 2
    assert words in capsys.readouterr().err


def test_a_foreign_engine_cannot_be_rebuilt(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = shutil.copy(copy / "onnx" / "forward.fp32.onnx", copy.parent / "mine.onnx")
    assert main(["verify", str(copy), *FEW, "--engine", str(elsewhere), "--rebuilds", "1"]) == 2
    assert "only graphs and plans of the bundle can be built again" in capsys.readouterr().err


def test_an_engine_may_have_any_file_name(copy: Path) -> None:
    elsewhere = shutil.copy(copy / "onnx" / "forward.fp32.onnx", copy.parent / "my build 2.onnx")
    assert main(["verify", str(copy), *FEW, "--engine", str(elsewhere)]) in (0, 1)
    assert only_report(copy)["measured"]["engine"]["path"] == "my build 2.onnx"


def test_a_bundle_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify"]) == 2
    assert "`verify` needs a bundle" in capsys.readouterr().err
