"""`advcal-edge export` on a real bundle, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from advcal_edge.bundle import Bundle
from advcal_edge.cli import main
from advcal_edge.cli.export import missing_line
from advcal_edge.errors import EngineError, ExportError
from advcal_edge.export.graphs import remove_graph
from advcal_edge.export.result import Missing
from advcal_edge.runtime import Embedder


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
        (["--precision", "int4"], "unknown precision `int4`"),
        (["--precision", ""], "`--precision` is empty"),
        (["--opset", "23"], "opset"),
        (["--precision", "fp16,fp8", "--opset", "18"], "`--precision fp8` and `--opset 18` exclude each other"),
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


def test_what_is_missing_is_told_in_one_line_with_what_follows() -> None:
    error = ExportError("overflows\nat `a`", hint="search: `--until-parity`")
    fp16, vjp = Missing("onnx/forward.fp16.onnx", "forward", error), Missing("onnx/vjp.fp32.onnx", "vjp", error)
    assert (
        missing_line(fp16, kept=False) == "onnx/forward.fp16.onnx not made: overflows at `a`; search: `--until-parity`"
    )
    assert (
        missing_line(vjp, kept=True) == "onnx/vjp.fp32.onnx not made: overflows at `a`; the bundle keeps the one it had"
    )
    assert missing_line(vjp, kept=False).startswith("gradient graph not made: overflows at `a`; `verify` takes")
    plan = Missing("onnx/vjp.fp32.onnx", "vjp", error, plan=True)
    assert missing_line(plan, kept=True).endswith("attacks on the other plans use the gradient graph")
    assert plan.to_json() == {
        "plan": "onnx/vjp.fp32.onnx",
        "kind": "vjp",
        "reason": "overflows at `a`",
        "hint": "search: `--until-parity`",
    }


@pytest.mark.slow
def test_bf16_and_fp8_are_written_on_request(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """fp8 runs on a CPU, simulated; bf16 is refused in words by everything that would run it."""
    assert main(["export", str(copy), "--precision", "bf16,fp8", "--no-gradient", "--json"]) == 0
    bf16, fp8 = json.loads(capsys.readouterr().out)["graphs"]
    assert (bf16["path"], fp8["path"]) == ("onnx/forward.bf16.onnx", "onnx/forward.fp8.onnx")
    assert bf16["fidelity"]["emulated"] is True
    assert "emulated" not in fp8["fidelity"]
    assert bf16["fidelity"]["cosine_min"] > 0.9999
    assert fp8["fidelity"]["cosine_min"] > 0.99
    assert Bundle.open(copy).section("graphs")["files"]["onnx/forward.bf16.onnx"]["fidelity"]["emulated"] is True

    assert np.isfinite(Embedder.load(copy, "fp8")(Bundle.open(copy).probe().x[:4])).all()
    with pytest.raises(EngineError, match="bf16 needs a GPU") as caught:
        Embedder.load(copy, "bf16")
    assert f"export {copy} --trt --precision bf16" in str(caught.value.hint)
    assert main(["verify", str(copy), "--engine", "bf16"]) == 2
    assert "bf16 needs a GPU" in capsys.readouterr().err
    remove_graph(remove_graph(Bundle.open(copy), "onnx/forward.fp16.onnx"), "onnx/forward.int8.onnx")
    assert main(["verify", str(copy), "--samples", "8", "--sources", "none", "--json"]) == 1
    captured = capsys.readouterr()
    assert "forward.bf16.onnx is left out: bf16 needs a GPU" in captured.err
    found = [report["measured"]["engine"]["precision"] for report in json.loads(captured.out)["engines"]]
    assert found == ["fp32", "fp8"]
