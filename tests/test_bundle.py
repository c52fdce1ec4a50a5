"""A bundle on disk is always whole, never leaves its folder, and notices every changed byte."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from advcal_edge.bundle import MANIFEST, SCHEMA, Bundle, inside
from advcal_edge.errors import BundleError

FILES = {"a.bin": b"alpha", "onnx/b.bin": b"beta"}


def make(path: Path) -> Bundle:
    return Bundle.create(path, {"seed": 3}, FILES)


def edit(bundle: Bundle, **changes: Any) -> None:
    manifest = {**bundle.manifest, **changes}
    (bundle.path / MANIFEST).write_text(json.dumps(manifest))


def test_create_open_and_read(tmp_path: Path) -> None:
    make(tmp_path / "b")
    bundle = Bundle.open(tmp_path / "b")
    assert bundle.manifest["schema"] == SCHEMA
    assert bundle.manifest["seed"] == 3
    assert {name: bundle.file(name).read_bytes() for name in FILES} == FILES
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b"]


def test_create_replaces_a_bundle_whole_but_nothing_else(tmp_path: Path) -> None:
    make(tmp_path / "b")
    Bundle.create(tmp_path / "b", {}, {"c.bin": b"gamma"})
    assert list(Bundle.open(tmp_path / "b").manifest["files"]) == ["c.bin"]
    assert not (tmp_path / "b" / "a.bin").exists()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.png").write_bytes(b"precious")
    with pytest.raises(BundleError, match="holds other files and no bundle"):
        make(tmp_path / "photos")
    (tmp_path / "photos" / "manifest.json").write_text('{"manifest_version": 3}')
    with pytest.raises(BundleError, match="holds other files and no bundle"):
        make(tmp_path / "photos")
    (tmp_path / "b" / "notes.txt").write_bytes(b"precious")
    with pytest.raises(BundleError, match="holds other files and no bundle"):
        make(tmp_path / "b")
    assert (tmp_path / "b" / "notes.txt").read_bytes() == b"precious"
    (tmp_path / "file").write_bytes(b"precious")
    with pytest.raises(BundleError, match="is no bundle"):
        make(tmp_path / "file")
    assert (tmp_path / "photos" / "one.png").read_bytes() == b"precious"


def test_add_replaces_files_and_sections(tmp_path: Path) -> None:
    bundle = make(tmp_path / "b")
    with bundle.staging() as folder:
        (folder / "new").write_bytes(b"staged")
        bundle = bundle.add({"a.bin": b"changed", "d/e.bin": folder / "new"}, environment={"python": "3.12"})
    assert bundle.file("a.bin").read_bytes() == b"changed"
    assert bundle.file("d/e.bin").read_bytes() == b"staged"
    assert bundle.manifest["environment"] == {"python": "3.12"}
    assert not [p for p in bundle.path.iterdir() if p.name.startswith(".")]


def test_remove_takes_listed_files_only(tmp_path: Path) -> None:
    bundle = make(tmp_path / "b")
    (tmp_path / "b" / "notes.txt").write_bytes(b"precious")
    name = next(iter(FILES))
    left = bundle.remove((name, "notes.txt", "../outside"), seed=4)
    assert not left.has(name)
    assert not (left.path / name).exists()
    assert left.manifest["seed"] == 4
    assert left.manifest["files"].keys() == FILES.keys() - {name}
    assert (left.path / "notes.txt").read_bytes() == b"precious"
    assert left.remove((name,)).manifest == left.manifest


def test_what_another_command_added_meanwhile_stays(tmp_path: Path) -> None:
    first, second = make(tmp_path / "b"), Bundle.open(tmp_path / "b")
    first.add({"x.bin": b"x"}, seed=1)
    both = second.add({"y.bin": b"y"})
    assert {"x.bin", "y.bin"} <= set(both.manifest["files"])
    assert both.manifest["seed"] == 1


def test_a_failed_addition_leaves_a_whole_bundle(tmp_path: Path) -> None:
    bundle = make(tmp_path / "b")
    with pytest.raises(BundleError):
        bundle.add({"a.bin": b"new", "z.bin": tmp_path / "missing"})
    again = Bundle.open(tmp_path / "b")
    assert {name: again.file(name).read_bytes() for name in again.manifest["files"]} == FILES
    assert {p.relative_to(again.path).as_posix() for p in again.path.rglob("*") if p.is_file()} == {MANIFEST, *FILES}


@pytest.mark.parametrize("damage", [b"", b"alph", b"alphA", b"alpha "])
def test_changed_bytes_are_noticed(tmp_path: Path, damage: bytes) -> None:
    bundle = make(tmp_path / "b")
    (bundle.path / "a.bin").write_bytes(damage)
    with pytest.raises(BundleError, match="was changed or truncated"):
        bundle.file("a.bin")


def test_missing_files_are_named(tmp_path: Path) -> None:
    bundle = make(tmp_path / "b")
    (bundle.path / "a.bin").unlink()
    with pytest.raises(BundleError, match=r"lacks `a\.bin`"):
        bundle.file("a.bin")
    with pytest.raises(BundleError, match=r"has no `onnx/forward\.fp32\.onnx`") as caught:
        bundle.file("onnx/forward.fp32.onnx")
    assert "advcal-edge export" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a/../../up", "", "a\\..\\b", "onnx/../../x", "nul\0"])
def test_a_manifest_may_not_leave_the_bundle(tmp_path: Path, name: str) -> None:
    bundle = make(tmp_path / "b")
    edit(bundle, files={name: {"sha256": "0" * 64}})
    with pytest.raises(BundleError, match=r"leaves the bundle|control character U\+0000"):
        Bundle.open(bundle.path)
    with pytest.raises(BundleError, match="leaves the bundle"):
        bundle.add({name: b"escaped"})


def test_nor_through_a_link(tmp_path: Path) -> None:
    bundle = make(tmp_path / "b")
    (tmp_path / "secret").write_bytes(b"secret")
    (bundle.path / "link").symlink_to(tmp_path / "secret")
    edit(bundle, files={"link": {"sha256": "0" * 64}})
    with pytest.raises(BundleError, match="link that leaves the bundle"):
        Bundle.open(bundle.path)


@given(st.text(max_size=30))
def test_any_name_stays_inside_or_is_refused(name: str) -> None:
    root = Path("/nonexistent/bundle")
    try:
        path = inside(root, name)
    except BundleError:
        return
    assert path.is_relative_to(root)
    assert path != root


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[1]", "holds a list"),
        ("[" * 100_000, "cannot be read"),
        ('{"schema": "advcal-edge/bundle/99", "files": {}}', "this version reads"),
        (f'{{"schema": "{SCHEMA}"}}', "`files` is missing"),
        (f'{{"schema": "{SCHEMA}", "files": {{"a": {{}}}}}}', r"`files\.a\.sha256` is missing"),
    ],
)
def test_broken_manifests(tmp_path: Path, text: str, words: str) -> None:
    bundle = make(tmp_path / "b")
    (bundle.path / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match=words):
        Bundle.open(bundle.path)


def test_no_bundle_at_all(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no bundle") as caught:
        Bundle.open(tmp_path / "nothing")
    assert "calibrate" in str(caught.value.hint)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a place that is always full")
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    bundle = make(tmp_path / "b")
    before = sorted(p.name for p in bundle.path.rglob("*"))
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal = pytest.importorskip("signal")
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # what the disk refuses looks the same to the writer
        with pytest.raises(BundleError, match="cannot write"):
            bundle.add({"large.bin": b"x" * 100_000})
        with pytest.raises(BundleError, match="cannot write"):
            Bundle.create(tmp_path / "c", {}, {"large.bin": b"x" * 100_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert sorted(p.name for p in bundle.path.rglob("*")) == before
    assert sorted(os.listdir(tmp_path)) == ["b"]
    Bundle.open(bundle.path).file("a.bin")
