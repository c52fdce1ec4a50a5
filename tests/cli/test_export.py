"""`advcal-edge export` on a real bundle, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from advcal_edge.bundle import Bundle
from advcal_edge.cli import main


@pytest.fixture
def copy(exported: Bundle, tmp_path: Path) -> Path:
    target = tmp_path / "B"
    shutil.copytree(exported.path, target)
    return target


def test_one_precision_without_gradient(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = Bundle.open(copy).manifest["files"]
    assert main(["export", str(copy), "--precision", "fp16", "--no-gradient", "--opset", "18", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [graph["path"] for graph in document["graphs"]] == ["onnx/forward.fp16.onnx"]
    assert document["opset"] == 18
    assert document["graphs"][0]["fidelity"]["cosine_min"] > 0.999
    after = Bundle.open(copy).manifest["files"]
    assert after["onnx/vjp.fp32.onnx"] == before["onnx/vjp.fp32.onnx"]
    assert after["onnx/forward.fp16.onnx"] != before["onnx/forward.fp16.onnx"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--trt"], "builds no TensorRT engines"),
        (["--precision", "fp8"], "unknown precision `fp8`"),
        (["--precision", ""], "`--precision` is empty"),
        (["--opset", "23"], "opset"),
    ],
)
def test_what_cannot_be_done_is_2(
    copy: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (copy / "manifest.json").read_bytes()
    assert main(["export", str(copy), *options]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""
    assert (copy / "manifest.json").read_bytes() == before


def test_a_tampered_adapter_is_refused(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapter = copy / "adapter.safetensors"
    adapter.write_bytes(adapter.read_bytes()[:-1] + b"\x7f")
    assert main(["export", str(copy), "--precision", "fp32", "--no-gradient"]) == 2
    assert "was changed or truncated" in capsys.readouterr().err
