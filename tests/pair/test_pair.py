"""`advcal-edge verify` of two models without a bundle: verdicts, the folder that is kept, and the consent it needs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classifier import NAMES, WEIGHTS, forward, logits

from advcal_edge.bundle import Bundle
from advcal_edge.cli import main
from advcal_edge.errors import BundleError
from advcal_edge.report.text import verification_table
from advcal_edge.runtime import Embedder

LOGITS = ("--kind", "classifier")
GRAPHS = ("--reference", "original.onnx", "--data", "frames", *LOGITS)
SEEN = (*GRAPHS, "--gradient-graph", "gradient.onnx")


def verify(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the only report, and what was said."""
    code = main(["verify", *arguments, "--json"])
    captured = capsys.readouterr()
    (report,) = json.loads(captured.out)["engines"]
    return code, report, captured.err


@pytest.fixture
def candidate(classifiers: Path) -> str:
    """Weights rounded so little that no label changes."""
    (classifiers / "rounded.onnx").write_bytes(forward(np.round(WEIGHTS, 4)))
    return "rounded.onnx"


def test_an_honest_candidate_passes_and_its_report_says_what_it_was_compared_with(
    candidate: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report, said = verify(capsys, "--engine", candidate, *SEEN)
    assert (code, report["derived"]["verdict"]) == (0, "pass")
    measured = report["measured"]
    assert measured["context"]["comparison"] == {
        "reference": "original.onnx",
        "graph": "reference/original.onnx",
        "kind": "classifier",
    }
    assert measured["context"]["encoder"] is measured["context"]["adapter"] is None
    assert measured["labels"] == list(NAMES)
    checks = {check["name"]: check for check in report["derived"]["checks"]}
    assert {name for name, check in checks.items() if check["status"] != "pass"} == {"figures_reproduced"}
    assert (checks["figures_reproduced"]["status"], checks["figures_reproduced"]["required"]) == ("skipped", False)
    assert "that the named model gave" in checks["reference_anchored"]["why"]
    folder = Path("original.comparison")
    assert "next: advcal-edge verify original.comparison --engine rounded.onnx --attacks standard" in said
    frames = Bundle.open(folder).probe().x
    assert measured["truth"] == Bundle.open(folder).probe().y.tolist()
    right = (logits(frames).argmax(axis=1) == measured["truth"]).sum()
    assert f"compare  with original.onnx: {right} of 200 clean samples right, 4 classes, logits" in said
    page = next(folder.rglob("report.html")).read_text()
    assert "with original.onnx (classifier)" in page
    stored = folder / "reports" / measured["engine"]["sha256"][:8] / "report.json"
    assert main(["verify", "--check", str(stored), "--engine", candidate]) == 0


def test_without_a_gradient_the_verdict_is_inconclusive(candidate: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, report, said = verify(capsys, "--engine", candidate, *GRAPHS)
    assert (code, report["derived"]["verdict"]) == (1, "inconclusive")
    assert {attack["route"] for attack in report["measured"]["attacks"]} == {"black box", "label only", "second look"}
    assert {c["verdict"] for c in report["derived"]["comparisons"] if c["decides"]} == {"pass"}
    first, *_ = report["derived"]["reasons"]
    assert first.startswith("11 checks were skipped: no gradient: ")
    assert "no gradient of original.onnx: black-box and label-only attacks alone" in said


def test_a_broken_candidate_fails(classifiers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (classifiers / "broken.onnx").write_bytes(forward(np.round(WEIGHTS / 2) * 2))
    code, report, _ = verify(capsys, "--engine", "broken.onnx", *SEEN)
    assert (code, report["derived"]["verdict"]) == (1, "fail")


def test_a_model_with_two_classes_exchanged_fails(classifiers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (classifiers / "swapped.onnx").write_bytes(forward(WEIGHTS[:, [1, 0, 2, 3]]))
    code, report, _ = verify(capsys, "--engine", "swapped.onnx", *GRAPHS)
    assert (code, report["derived"]["verdict"]) == (1, "fail")
    assert "compared  with original.onnx (classifier), which was not calibrated" in verification_table(report)


def test_several_candidates_share_a_folder(
    candidate: str, classifiers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("--samples", "16")
    verify(capsys, "--engine", candidate, *SEEN, *few)
    identity = Bundle.open("original.comparison").identity()
    verify(capsys, "--engine", "original.onnx", *SEEN, *few)
    verify(capsys, "original.comparison", "--engine", candidate, *few)
    found = Bundle.open("original.comparison")
    assert found.identity() == identity
    assert len([name for name in found.manifest["files"] if name.endswith("report.json")]) == 2


def test_shards_of_a_comparison_are_merged(candidate: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["verify", "--engine", candidate, *SEEN, "--state", "state"]
    assert main([*arguments, "--shard", "1/2"]) == 0
    assert main([*arguments, "--shard", "2/2"]) == 0
    capsys.readouterr()
    code, report, _ = verify(capsys, "original.comparison", "--merge", "--state", "state")
    assert (code, report["derived"]["verdict"]) == (0, "pass")


def test_a_reference_in_torch_gives_its_gradient(
    candidate: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    named = "torch_classifier:factory"
    arguments = ("--engine", candidate, "--reference", named, "--data", "frames", *LOGITS)
    code, report, _ = verify(capsys, *arguments)
    assert (code, report["derived"]["verdict"]) == (0, "pass")
    assert report["measured"]["reference"]["kind"] == report["measured"]["engine"]["gradient_from"] == "torch"
    again = ["verify", "factory.comparison", "--engine", candidate, "--samples", "16"]
    assert main(again) == 1  # too few to decide; what was named is remembered
    assert main(["trust", "factory.comparison", "--withdraw"]) == 0
    assert main(again) == 2
    assert "nobody has allowed that here" in capsys.readouterr().err
    assert main([*again, "--encoder", named]) == 1
    report_path = next(Path("factory.comparison").rglob("report.json"))
    assert main(["verify", "--check", str(report_path), "--engine", candidate]) == 0


def test_two_graphs_need_no_torch(candidate: str) -> None:
    code = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, NoTorch())
from advcal_edge.cli import main
sys.exit(main(sys.argv[1:]))
"""
    arguments = ["verify", "--engine", candidate, *SEEN, "--samples", "16"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "INCONCLUSIVE  clean drop" in done.stdout


def test_nothing_but_verify_takes_a_comparison_folder(candidate: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["verify", "--engine", candidate, *SEEN, "--samples", "16"])
    with pytest.raises(BundleError, match="nothing in it was calibrated, so there is nothing to run"):
        Embedder.load("original.comparison", engine=candidate)
    for command, words in (
        (["export", "original.comparison"], "nothing to export"),
        (["bench", "original.comparison"], "nothing to run"),
        (["verify", "original.comparison"], "expected the one to attack"),
        (["verify", "original.comparison", "--engine", candidate, "--reference", "torch"], "of the kind `onnx`"),
        (["verify", "original.comparison", "--engine", candidate, "--gradient", "torch"], "without torch"),
        (["verify", "original.comparison", "--engine", candidate, "--sources", "fp32"], "no model but its reference"),
    ):
        capsys.readouterr()
        assert main(command) == 2, command
        assert words in capsys.readouterr().err
    assert main(["inspect", "original.comparison"]) == 0
    assert "compares    reference original.onnx" in capsys.readouterr().out


def test_a_folder_with_something_else_is_left_alone(
    candidate: str, classifiers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("--samples", "16")
    main(["verify", "--engine", candidate, *SEEN, *few])
    before = sorted(Path("original.comparison").rglob("*"))
    assert main(["verify", "--engine", candidate, *GRAPHS, *few]) == 2
    assert "compares other models, samples, centers or settings" in capsys.readouterr().err
    assert sorted(Path("original.comparison").rglob("*")) == before
    shutil.rmtree("original.comparison")
    Path("original.comparison").mkdir()
    Path("original.comparison/mine.txt").write_text("mine")
    assert main(["verify", "--engine", candidate, *SEEN, *few]) == 2
    assert "holds other files and no bundle" in capsys.readouterr().err
