"""Folders at the top level install as sub-packages; links, lists and imports must say the same."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINKED = ("calibrate", "export", "runtime")


def pyproject() -> dict[str, object]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize("name", LINKED)
def test_links_are_relative_and_lead_to_the_folders(name: str) -> None:
    link = ROOT / "advcal_edge" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name
    assert link.resolve() == (ROOT / name).resolve()


def test_packages_listed_are_those_on_disk() -> None:
    tool = pyproject()["tool"]
    assert isinstance(tool, dict)
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
    assert isinstance(tool, dict)
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
