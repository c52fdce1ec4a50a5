"""Radii, margins and classes from the command line: what stands where, what counts, and what decides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import Linear, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.cli import main
from advcal_edge.runtime.verified import find_verified
from advcal_edge.spec import image

Capture = pytest.CaptureFixture[str]
N = 200
HONEST = ["--engine", "fp16", "--reference", "onnx", "--samples", str(N)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose fp16 graph was verified on the bundle's own terms, and then at a radius that leaves nothing."""
    folder = tmp_path_factory.mktemp("terms")
    path = write_bundle(folder / "B", Linear.random(image(8)), ("fp32", "fp16"), {}, samples=N).path
    assert main(["verify", str(path), *HONEST]) == 0
    return path


def counts(bundle: Path) -> bool:
    opened = Bundle.open(bundle)
    return find_verified(opened, opened.manifest["files"]["onnx/forward.fp16.onnx"]["sha256"]) is not None


def test_a_radius_that_breaks_everything_is_inconclusive_and_lies_beside(bundle: Path, capsys: Capture) -> None:
    (own,) = bundle.glob("reports/????????/report.json")
    before = own.read_bytes()
    assert counts(bundle)
    capsys.readouterr()
    assert main(["verify", str(bundle), *HONEST, "--eps", "64/255"]) == 1
    stdout, stderr = capsys.readouterr()
    assert "INCONCLUSIVE  nothing left to lose: the reference keeps" in stdout
    assert "use a smaller `--eps`" in " ".join(stdout.split())
    assert "another radius and does not verify it" in " ".join(stdout.split())
    assert "calibrated against linf 4/255: reports on linf 64/255 lie beside its own and do not count" in stderr
    other = own.parent.with_name(f"{own.parent.name}-linf-64of255") / "report.json"
    report = json.loads(other.read_text())
    assert report["measured"]["threat"]["eps"] == 64 / 255
    worst = next(item for item in report["derived"]["comparisons"] if item["name"] == "worst case")
    assert worst["reference"]["hits"] <= 0.1 * N
    assert own.read_bytes() == before
    assert counts(bundle)
    assert main(["verify", "--check", str(other)]) == 0  # it claims nothing


def test_a_larger_radius_is_no_stricter(bundle: Path) -> None:
    """A report on another ball counts for nothing, even in the place of the bundle's own."""
    assert main(["verify", str(bundle), *HONEST, "--eps", "5/255"]) in (0, 1)
    (own,) = bundle.glob("reports/????????/report.json")
    before = own.read_bytes()
    other = own.parent.with_name(f"{own.parent.name}-linf-5of255") / "report.json"
    name = own.relative_to(bundle).as_posix()
    try:
        Bundle.open(bundle).add({name: other.read_bytes()})
        assert not counts(bundle)
        if json.loads(other.read_text())["derived"]["verdict"] == "pass":
            assert main(["verify", "--check", str(other)]) == 1
            assert main(["verify", "--check", str(other), "--eps", "5/255"]) == 0
    finally:
        Bundle.open(bundle).add({name: before})
    assert counts(bundle)


def test_a_margin_per_class_is_asked_for_stored_and_decides(bundle: Path, tmp_path: Path, capsys: Capture) -> None:
    copy = write_bundle(tmp_path / "B", Linear.random(image(8)), ("fp32", "fp16"), {}, samples=N).path
    state = str(tmp_path / "S")
    asked = [*HONEST, "--per-class-margin", "0.01", "--shard", "1/1", "--state", state]
    assert main(["verify", str(copy), *asked]) == 0
    capsys.readouterr()
    assert main(["verify", str(copy), "--merge", "--state", state, "--json"]) == 1
    (report,) = json.loads(capsys.readouterr().out)["engines"]
    assert report["measured"]["per_class_margin"] == 0.01
    assert report["derived"]["classes"]["verdict"] == "inconclusive"
    assert "straddles 1 per class" in report["derived"]["reasons"][0]
    assert not counts(copy)
    assert main(["verify", str(copy), *HONEST, "--per-class-margin", "1.5"]) == 2
    assert "`--per-class-margin` must lie between 0 and 1" in capsys.readouterr().err
