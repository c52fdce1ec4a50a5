"""`advcal-edge verify` from the command line: verdicts as exit codes, reports in the bundle, words for bad input."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from advcal_edge.bundle import Bundle
from advcal_edge.centers import Centers
from advcal_edge.cli import main
from advcal_edge.probe import Probe
from advcal_edge.runtime import Embedder

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


@pytest.fixture
def copy(exported: Bundle, tmp_path: Path) -> Path:
    target = tmp_path / "B"
    shutil.copytree(exported.path, target)
    return target


def test_an_honest_engine_passes_and_becomes_verified(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not Embedder.load(copy, engine="fp16").verified
    assert main(["verify", str(copy), "--engine", "fp16", "--samples", "200", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "pass"
    (report,) = document["engines"]
    folder = copy / "reports" / report["measured"]["engine"]["sha256"][:8]
    assert json.loads((folder / "report.json").read_text()) == report
    assert report["measured"]["engine"]["sha256"][:12] in (folder / "report.html").read_text()
    assert report["measured"]["reference"]["kind"] == "torch"
    assert Embedder.load(copy, engine="fp16", require_verified=True).verified
    worst = report["derived"]["comparisons"][-1]
    measured = report["measured"]
    ranks = [measured["clean"]["engine"], *(attack["ranks"]["engine"] for attack in measured["attacks"])]
    assert worst["n"] == 200
    assert worst["engine"]["hits"] == sum(not any(sample) for sample in zip(*ranks, strict=True))


def test_too_few_samples_are_inconclusive_and_exit_1(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(copy), "--engine", "fp32", "--samples", "20"]) == 1
    captured = capsys.readouterr()
    assert "INCONCLUSIVE" in captured.out
    assert "samples would decide" in captured.out


def test_works_without_torch(copy: Path) -> None:
    """The reference is then the fp32 graph; the whole program runs in a process where torch cannot be imported."""
    arguments = ["verify", str(copy), "--engine", "fp16", "--samples", "20", "--json"]
    done = subprocess.run([sys.executable, "-c", NO_TORCH, *arguments], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    (report,) = json.loads(done.stdout)["engines"]
    assert report["measured"]["reference"]["kind"] == "onnx"
    assert "basic" in report["measured"]["reference"]["fingerprint"]


def test_an_engine_from_elsewhere_is_recorded_by_hash(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = copy.parent / "mine.onnx"
    shutil.copy(copy / "onnx" / "forward.fp32.onnx", elsewhere)
    with elsewhere.open("ab") as file:
        file.write(b"\x72\x00")  # an empty, known field: other bytes, same graph
    assert main(["verify", str(copy), "--engine", str(elsewhere), "--samples", "20", "--json"]) == 1
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
def test_bad_settings_are_2(
    exported: Bundle, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(exported.path), *options]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""


def test_two_classes_have_no_dlr(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = Bundle.open(copy)
    probe, centers = bundle.probe(), bundle.centers()
    rows = probe.y < 2
    two = Centers(centers.labels[:2], centers.vectors[:2], centers.temperature, centers.source)
    bundle.add(
        {
            "probe.npz": Probe(probe.x[rows], probe.y[rows]).to_bytes(bundle.modality.input),
            "centers.safetensors": two.to_bytes(),
        },
        centers={**bundle.section("centers"), "labels": list(two.labels)},
    )
    assert main(["verify", str(copy), "--losses", "dlr", "--samples", "20"]) == 2
    assert "needs at least 3 classes; this bundle has 2" in capsys.readouterr().err
    assert main(["verify", str(copy), "--engine", "fp32", "--samples", "20"]) in (0, 1)


@pytest.mark.parametrize("name", ["probe.npz", "centers.safetensors", "onnx/forward.fp32.onnx", "onnx/vjp.fp32.onnx"])
def test_tampered_files_are_2(copy: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = copy / name
    file.write_bytes(file.read_bytes()[:-3])
    assert main(["verify", str(copy), "--samples", "20"]) == 2
    assert "was changed or truncated" in capsys.readouterr().err
    assert not (copy / "reports").exists()


def test_a_file_that_is_no_graph_is_2(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = copy.parent / "random.onnx"
    other.write_bytes(np.random.default_rng(0).bytes(1000))
    assert main(["verify", str(copy), "--engine", str(other)]) == 2
    assert "is no ONNX graph" in capsys.readouterr().err


def test_nothing_exported_yet(tmp_path: Path, exported: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    files = {name: exported.file(name).read_bytes() for name in ("probe.npz", "centers.safetensors")}
    manifest = {key: value for key, value in exported.manifest.items() if key not in ("schema", "files")}
    Bundle.create(tmp_path / "B", manifest, files)
    assert main(["verify", str(tmp_path / "B")]) == 2
    assert "hint: advcal-edge export" in capsys.readouterr().err
