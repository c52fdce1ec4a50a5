"""`advcal-edge verify` from the command line: verdicts as exit codes, reports in the bundle, words for bad input."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import Linear, write_bundle

from advcal_edge.anchor import ANCHOR, anchor_bytes
from advcal_edge.bundle import Bundle
from advcal_edge.centers import Centers
from advcal_edge.cli import main
from advcal_edge.probe import Probe
from advcal_edge.runtime import Embedder
from advcal_edge.spec import image

NO_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, NoTorch())
from advcal_edge.cli import main
sys.exit(main(sys.argv[1:]))
"""


ONNX = ("--reference", "onnx")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A linear encoder, which is verified in a second."""
    return write_bundle(tmp_path / "B", Linear.random(image(4)), ("fp32", "fp16"), {}, samples=220, gradient=True).path


def test_an_honest_engine_passes_and_becomes_verified(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_becomes_verified(tiny, capsys, *ONNX)


@pytest.mark.slow
def test_an_honest_engine_of_a_trained_encoder_passes_against_torch(
    exported: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = check_becomes_verified(Path(shutil.copytree(exported.path, tmp_path / "B")), capsys)
    assert report["measured"]["reference"]["kind"] == "torch"


def check_becomes_verified(copy: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    assert not Embedder.load(copy, engine="fp16").verified
    assert main(["verify", str(copy), "--engine", "fp16", "--samples", "200", *options, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "pass"
    (report,) = document["engines"]
    folder = copy / "reports" / report["measured"]["engine"]["sha256"][:8]
    assert json.loads((folder / "report.json").read_text()) == report
    assert report["measured"]["engine"]["sha256"][:12] in (folder / "report.html").read_text()
    assert Embedder.load(copy, engine="fp16", require_verified=True).verified
    worst = report["derived"]["comparisons"][-1]
    measured = report["measured"]
    ranks = [measured["clean"]["engine"], *(attack["ranks"]["engine"] for attack in measured["attacks"])]
    assert worst["n"] == 200
    assert worst["engine"]["hits"] == sum(not any(sample) for sample in zip(*ranks, strict=True))
    found: dict[str, Any] = report
    return found


def test_too_few_samples_are_inconclusive_and_exit_1(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tiny), "--engine", "fp32", "--samples", "20", *ONNX]) == 1
    captured = capsys.readouterr()
    assert "INCONCLUSIVE" in captured.out
    assert "samples would decide" in captured.out


def test_works_without_torch(tiny: Path) -> None:
    """The reference is then the fp32 graph; the whole program runs in a process where torch cannot be imported."""
    arguments = ["verify", str(tiny), "--engine", "fp16", "--samples", "20", "--json"]
    done = subprocess.run([sys.executable, "-c", NO_TORCH, *arguments], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    (report,) = json.loads(done.stdout)["engines"]
    assert report["measured"]["reference"]["kind"] == "onnx"
    assert "basic" in report["measured"]["reference"]["fingerprint"]


def test_an_engine_from_elsewhere_is_recorded_by_hash(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = tiny.parent / "mine.onnx"
    shutil.copy(tiny / "onnx" / "forward.fp32.onnx", elsewhere)
    with elsewhere.open("ab") as file:
        file.write(b"\x72\x00")  # an empty, known field: other bytes, same graph
    assert main(["verify", str(tiny), "--engine", str(elsewhere), "--samples", "20", *ONNX, "--json"]) == 1
    (report,) = json.loads(capsys.readouterr().out)["engines"]
    assert report["measured"]["engine"]["listed"] is False
    assert report["measured"]["engine"]["path"] == "mine.onnx"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--attacks", "quik"], "did you mean `quick`?"),
        (["--eps", "five"], "expected a fraction like `4/255`"),
        (["--eps", "2"], "eps must lie in [0, 1]"),
        (["--eps", "0"], "leaves nothing to attack"),
        (["--margin", "1.5"], "`--margin` must lie between 0 and 1"),
        (["--samples", "3"], "needs at least 8"),
        (["--losses", "ce,hinge"], "unknown loss `hinge`"),
        (["--reference", "jax"], "unknown reference `jax`"),
        (["--engine", "int4"], "engine `int4` is neither"),
    ],
)
def test_bad_settings_are_2(tiny: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tiny), *(() if "--reference" in options else ONNX), *options]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""


def test_two_classes_have_no_dlr(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = Bundle.open(tiny)
    probe, centers = bundle.probe(), bundle.centers()
    rows = probe.y < 2
    z = Linear.random(image(4)).embed(probe.x[rows]).astype(np.float32)
    two = Centers(centers.labels[:2], centers.vectors[:2], centers.temperature, centers.source)
    bundle.add(
        {
            "probe.npz": Probe(probe.x[rows], probe.y[rows]).to_bytes(bundle.modality.input),
            "centers.safetensors": two.to_bytes(),
            ANCHOR: anchor_bytes(z),
        },
    )
    assert main(["verify", str(tiny), "--losses", "dlr", "--samples", "20"]) == 2
    assert "needs at least 3 classes; this bundle has 2" in capsys.readouterr().err
    assert main(["verify", str(tiny), "--engine", "fp32", "--samples", "20", *ONNX]) in (0, 1)


@pytest.mark.parametrize(
    "name", ["probe.npz", ANCHOR, "centers.safetensors", "onnx/forward.fp32.onnx", "onnx/vjp.fp32.onnx"]
)
def test_tampered_files_are_2(tiny: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tiny / name
    file.write_bytes(file.read_bytes()[:-3])
    assert main(["verify", str(tiny), "--samples", "20", *ONNX]) == 2
    assert "was changed or truncated" in capsys.readouterr().err
    assert not (tiny / "reports").exists()


def test_a_file_that_is_no_graph_is_2(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tiny.parent / "random.onnx"
    other.write_bytes(np.random.default_rng(0).bytes(1000))
    assert main(["verify", str(tiny), "--engine", str(other), *ONNX]) == 2
    assert "is no ONNX graph" in capsys.readouterr().err


def test_nothing_exported_yet(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = Bundle.open(tiny)
    files = {name: bundle.file(name).read_bytes() for name in ("probe.npz", "centers.safetensors", ANCHOR)}
    manifest = {key: value for key, value in bundle.manifest.items() if key not in ("schema", "files", "graphs")}
    Bundle.create(tmp_path / "C", manifest, files)
    assert main(["verify", str(tmp_path / "C")]) == 2
    assert "hint: advcal-edge export" in capsys.readouterr().err
