"""Files of a bundle that its manifest does not list, or that are larger, deeper or elsewhere than they seem."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from hostile import poisoned, write_manifest

from advcal_edge.bundle import MANIFEST, Bundle
from advcal_edge.cli import main
from advcal_edge.consent import Consent
from advcal_edge.errors import BundleError
from advcal_edge.leftovers import strays
from advcal_edge.lock import hold
from advcal_edge.storage import sha256_bytes
from advcal_edge.verify import State
from advcal_edge.verify.run import state_root

Capture = pytest.CaptureFixture[str]
DEEPER_THAN_PYTHON = 1500  # folders in each other


def with_weights(bundle: Bundle, stored: str) -> Bundle:
    """The bundle with its encoder's weights in a place of its own."""
    manifest = json.loads((bundle.path / MANIFEST).read_text())
    manifest = poisoned(manifest, ("encoder", "name"), "languagebind")
    return Bundle.open(write_manifest(bundle, poisoned(manifest, ("encoder", "weights"), stored)))


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_a_folder_of_weights_holds_nothing_that_is_not_listed(whole: Bundle, tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "model.safetensors").write_bytes(b"another's")
    bundle = with_weights(whole.add({"weights/config.json": b"{}"}), "weights")
    assert Consent().choose_encoder(bundle).weights == bundle.path / "weights"
    if kind == "file":
        (bundle.path / "weights" / "model.safetensors").write_bytes(b"unlisted")
    else:
        name = "model.safetensors" if kind == "link" else "more"
        source = outside / "model.safetensors" if kind == "link" else outside
        (bundle.path / "weights" / name).symlink_to(source)
    with pytest.raises(BundleError, match="its manifest does not list it"):
        Consent().choose_encoder(bundle)


@pytest.mark.parametrize("folder", ["onnx", "engines", "reports"])
def test_weights_among_what_comes_and_goes_are_not_the_bundle_s_own(whole: Bundle, folder: str) -> None:
    bundle = with_weights(whole.add({f"{folder}/w.safetensors": b"one"}), f"{folder}/w.safetensors")
    with pytest.raises(BundleError, match="wants to read the weights"):
        Consent().choose_encoder(bundle)


@pytest.mark.parametrize(
    "text",
    [
        '{"derived": {"verdict": NaN}, "measured": {"engine": {"sha256": "0"}}}',
        '{"derived": {"verdict": "\\ud800"}, "measured": {"engine": {"sha256": "0"}}}',
        '{"derived": {"verdict": %s}, "measured": {"engine": {"sha256": 7}}}' % ("[" * 50 + "]" * 50),
        '{"derived": {"verdict": "%s"}, "measured": {"engine": {"sha256": "0"}}}' % ("x" * 100_000),
    ],
    ids=["not finite", "no text", "a list", "long"],
)
def test_inspect_shows_of_a_report_what_a_report_may_say(whole: Bundle, text: str, capsys: Capture) -> None:
    bundle = whole.add({"reports/00000000/report.json": text.encode()})
    assert main(["inspect", str(bundle.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reports"]["reports/00000000/report.json"]["verdict"] is None
    assert main(["inspect", str(bundle.path)]) == 0
    assert all(len(line) < 2000 for line in capsys.readouterr().out.splitlines())


def test_inspect_reads_no_report_beyond_the_limit(
    whole: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    report = json.dumps({"derived": {"verdict": "pass"}, "padding": "x" * 1000}).encode()
    bundle = whole.add({"reports/00000000/report.json": report})
    monkeypatch.setenv("ADVCAL_MAX_REPORT_BYTES", "1000")
    assert main(["inspect", str(bundle.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reports"]["reports/00000000/report.json"]["verdict"] is None


def test_a_file_of_holes_is_not_hashed(whole: Bundle) -> None:
    bundle = Bundle.open(
        write_manifest(whole, {**whole.manifest, "files": {**whole.manifest["files"], "holes": {"sha256": "0" * 64}}})
    )
    with (bundle.path / "holes").open("wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(BundleError, match="expected at most 17,179,869,184"):
        bundle.file("holes")
    write_manifest(bundle, {**whole.manifest, "changing": {"holes": [sha256_bytes(b"")]}})
    assert strays(bundle.path) == []


def test_folders_deeper_than_python_goes(whole: Bundle, capsys: Capture) -> None:
    start = Path.cwd()
    try:
        os.chdir(whole.path)
        for _ in range(DEEPER_THAN_PYTHON):
            Path("a").mkdir()
            os.chdir("a")
        assert main(["inspect", str(whole.path)]) == 0
    finally:
        os.chdir(start)
        for _ in range(DEEPER_THAN_PYTHON):  # from above, since removing them whole would go as deep
            inner = whole.path / "a" / "a"
            if not inner.is_dir():
                break
            inner.rename(whole.path / "b")
            (whole.path / "a").rmdir()
            (whole.path / "b").rename(whole.path / "a")
    assert "not in the manifest" not in capsys.readouterr().err


def test_a_lock_that_has_a_second_name_is_not_written(whole: Bundle, tmp_path: Path) -> None:
    letter = tmp_path / "letter"
    letter.write_text("of somebody")
    (tmp_path / ".B.lock").hardlink_to(letter)
    with pytest.raises(BundleError, match="cannot write"), hold(whole.path, wait=0):
        pass
    assert letter.read_text() == "of somebody"


def test_the_state_of_a_run_is_kept_behind_no_link(whole: Bundle, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    root = state_root(whole)
    root.symlink_to(elsewhere)
    with pytest.raises(BundleError, match="is a link"):
        state_root(whole)
    assert main(["verify", str(whole.path), "--engine", "fp32", "--reference", "onnx"]) == 2
    root.unlink()
    State.open(root, {"n": 1}).close()
    folder = next(root.iterdir())
    shutil.rmtree(folder)
    folder.symlink_to(elsewhere)
    with pytest.raises(BundleError, match="is a link"):
        State.open(root, {"n": 1})
    assert list(elsewhere.iterdir()) == []
