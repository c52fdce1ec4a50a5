"""Folders at the top level install as sub-packages; links, lists and imports must say the same."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from checkout import ROOT, pyproject

LINKED = ("calibrate", "export", "robot", "runtime")
UNPACKED = (ROOT / "PKG-INFO").exists()
"""Whether this is an unpacked sdist, which has no links: building needs none."""

CHECKOUT_ALONE = {".gitignore", ".ci/run"}
"""What is of no use without the repository."""


@pytest.mark.skipif(UNPACKED, reason="an unpacked sdist has no links")
@pytest.mark.parametrize("name", LINKED)
def test_links_are_relative_and_lead_to_the_folders(name: str) -> None:
    link = ROOT / "advcal_edge" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name
    assert link.resolve() == (ROOT / name).resolve()


def test_packages_listed_are_those_on_disk() -> None:
    tool = pyproject()["tool"]
    on_disk = set()
    for top, package in (("advcal_edge", "advcal_edge"), *((name, f"advcal_edge.{name}") for name in LINKED)):
        for init in (ROOT / top).rglob("__init__.py"):
            inner = init.parent.relative_to(ROOT / top)
            if inner.parts[:1] and inner.parts[0] in LINKED:
                continue
            on_disk.add(".".join((package, *inner.parts)))
    assert set(tool["setuptools"]["packages"]) == on_disk


def test_every_folder_with_modules_is_a_package() -> None:
    for top in ("advcal_edge", *LINKED):
        for module in (ROOT / top).rglob("*.py"):
            assert (module.parent / "__init__.py").exists(), module


def test_no_bare_imports_of_the_top_level_folders() -> None:
    bare = re.compile(rf"^\s*(?:from|import)\s+({'|'.join(LINKED)})(?:\.|\s|$)", re.MULTILINE)
    for folder in ("advcal_edge", *LINKED, "tests", "benchmarks", "examples"):
        for module in (ROOT / folder).rglob("*.py"):
            assert not bare.search(module.read_text()), module


def test_package_data_is_declared() -> None:
    tool = pyproject()["tool"]
    data = tool["setuptools"]["package-data"]
    folders = tool["setuptools"]["package-dir"]
    for package in tool["setuptools"]["packages"]:
        parts = package.split(".")
        base = folders.get(".".join(parts[:2]))
        folder = ROOT.joinpath(base, *parts[2:]) if base else ROOT.joinpath(*parts)
        for file in folder.iterdir():
            if file.is_file() and file.suffix not in (".py", ".pyc"):
                patterns = data.get(package, [])
                assert any(file.match(pattern) for pattern in patterns), f"{file} would not be installed"


@pytest.mark.parametrize(
    "module", ["advcal_edge.runtime", "advcal_edge.attacks", "advcal_edge.verify", "advcal_edge.report"]
)
def test_light_layers_load_nothing_heavy(module: str) -> None:
    code = f"import {module}, sys; print(sorted({{'torch', 'onnx', 'typer'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def build(kind: str, tree: Path, out: Path) -> Path:
    """What the build backend makes of a tree: `sdist` or `wheel`."""
    code = f"import sys; from setuptools import build_meta; print(build_meta.build_{kind}(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(out)], cwd=tree, capture_output=True, text=True, check=True)
    return out / done.stdout.splitlines()[-1]


def contents(wheel: Path) -> dict[str, int]:
    """The files of a wheel and their checksums; RECORD says the same."""
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: entry.CRC for entry in archive.infolist()}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a checkout knows what belongs to it")
def test_the_sdist_is_whole_and_builds_the_same_wheel(tmp_path: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    checkout = tmp_path / "checkout"
    tracked = [Path(name) for name in listed.split("\0") if name and (ROOT / name).exists()]
    for name in tracked:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, checkout / name, follow_symlinks=False)

    sdist = build("sdist", checkout, tmp_path)
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    files = {str(name) for name in tracked if not (ROOT / name).is_symlink()} - CHECKOUT_ALONE
    assert not {name for name in files if not (unpacked / name).is_file()}

    (tmp_path / "second").mkdir()
    direct, by_sdist = build("wheel", checkout, tmp_path), build("wheel", unpacked, tmp_path / "second")
    assert contents(direct) == contents(by_sdist)
    assert "advcal_edge/runtime/embedder.py" in contents(direct)
