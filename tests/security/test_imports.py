"""Whatever a manifest says, opening, inspecting, embedding and verifying a bundle import nothing it chose."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hostile import look, places, poisoned, write_manifest
from hypothesis import HealthCheck, given, settings, strategies as st

from advcal_edge.bundle import MANIFEST, Bundle
from advcal_edge.cli import main

CODE = ("canary:factory", "canary", "this:d", "antigravity:fly", "foolbox:Model", "pip:main", "builtins:exec")
"""What a manifest may try to have imported; `canary` can be, and so can the others."""

DECLARED = {
    "advcal_edge", "array_api_compat", "click", "cv2", "h5py", "jinja2", "markupsafe", "numpy", "onnx",
    "onnxruntime", "onnxscript", "plyfile", "safetensors", "soundfile", "tokenizers", "torch", "tomli", "typer",
}  # fmt: skip
"""Packages that the product declares; what those import in turn is theirs, and none of it is named above."""

FORBIDDEN = {"canary", "this", "antigravity", "foolbox", "pip"}

poison = st.one_of(
    st.sampled_from(CODE),
    st.sampled_from(["/etc/passwd", "../../x", "canary/", "~/.ssh/id_rsa", "\x1b[2J", "__import__('canary')"]),
    st.none() | st.booleans() | st.integers() | st.floats(),
    st.lists(st.sampled_from(CODE), max_size=2),
    st.dictionaries(st.sampled_from(CODE), st.sampled_from(CODE), max_size=2),
)


@pytest.fixture
def frame(tmp_path: Path) -> Path:
    path = tmp_path / "frame.png"
    path.write_bytes(cv2.imencode(".png", np.arange(64, dtype=np.uint16).reshape(8, 8) + 29000)[1].tobytes())
    return path


def run(bundle: Path, frame: Path) -> None:
    """Every command that a person would try on a bundle from elsewhere; exit codes are the business of other tests."""
    for command in (
        ["inspect", str(bundle)],
        ["embed", str(bundle), str(frame)],
        ["verify", str(bundle), "--engine", "fp32", "--samples", "2", "--reference", "onnx"],
        ["verify", str(bundle), "--engine", "fp32", "--samples", "2"],
        ["trust", str(bundle), "--withdraw"],
    ):
        assert main(command) in (0, 1, 2)


def strangers(before: set[str]) -> set[str]:
    """Top-level modules that were imported since and that nobody declared."""
    found = {name.partition(".")[0] for name in sys.modules.keys() - before}
    found.discard("__mp_main__")  # another name that multiprocessing gives to `__main__`
    return found & FORBIDDEN | (found - DECLARED - sys.stdlib_module_names - brought())


def brought() -> set[str]:
    """Modules of distributions that are installed: a planted one belongs to none."""
    from importlib.metadata import packages_distributions

    return set(packages_distributions())


def test_the_check_sees_an_import(canary: Path) -> None:
    before = set(sys.modules)
    __import__("canary")
    assert strangers(before) == {"canary"}
    assert canary.exists()


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutated_manifest_imports_nothing_of_its_own(
    whole: Bundle, canary: Path, frame: Path, tmp_path: Path, data: Any
) -> None:
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(whole.path, copy)
    manifest = json.loads((copy / MANIFEST).read_text())
    for _ in range(data.draw(st.integers(1, 3), "changes")):
        place = data.draw(st.sampled_from(sorted(places(manifest), key=str)), "place")
        value = data.draw(poison, "poison")
        manifest = poisoned(manifest, place, value)
    write_manifest(Bundle(copy, manifest), manifest)
    before = set(sys.modules)
    run(copy, frame)
    assert strangers(before) == set()
    assert not canary.exists()


@pytest.mark.parametrize("name", CODE)
def test_no_field_at_all_brings_code_in(whole: Bundle, canary: Path, frame: Path, name: str) -> None:
    manifest = json.loads((whole.path / MANIFEST).read_text())
    before = set(sys.modules)
    for place in places(manifest):
        if isinstance(look(manifest, place), str) and place[0] != "files":
            bundle = write_manifest(whole, poisoned(manifest, place, name))
            assert main(["inspect", str(bundle)]) in (0, 2)
            if place[0] in ("encoder", "modality"):
                run(bundle, frame)
    assert strangers(before) == set()
    assert not canary.exists()


def test_no_bundle_has_an_installed_backend_imported(whole: Bundle, canary: Path, frame: Path, tmp_path: Path) -> None:
    """Only a person who names a file of its suffix does."""
    installed = tmp_path / "modules" / "toy-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("[advcal_edge.backends]\ntoy = canary:factory\n")
    files = {"onnx/forward.int8.toy": b"x", "engines/a.toy": b"x", "engines/a.json": b"{}"}
    bundle = whole.add(files)
    run(bundle.path, frame)
    assert main(["embed", str(bundle.path), str(frame), "--engine", "auto"]) == 0
    assert not canary.exists()
    assert main(["embed", str(bundle.path), str(frame), "--engine", "engines/a.toy"]) == 2
    assert canary.exists()
