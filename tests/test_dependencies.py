"""What the project stands on: every import is declared, pinned, explained and free to use."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT, pyproject
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NEWER_THAN_310 = {"tomllib", "annotationlib", "compression"}
"""Modules that the standard library has gained since Python 3.10."""

DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "cuda": "cuda-python",
    "tensorrt_rtx": "tensorrt-rtx-cu13-bindings",
    "tensorrt_rtx_bindings": "tensorrt-rtx-cu13-bindings",
    **{name: f"ros-{name}" for name in ("rclpy", "diagnostic_msgs", "rcl_interfaces", "sensor_msgs", "std_msgs")},
}
"""Where a module has another name than what brings it."""

AT_IMPORT: dict[str, tuple[str, ...]] = {
    "calibrate": ("calibrate",),
    "export": ("export", "cpu"),
    "encoders": ("calibrate",),
    "robot": ("ros",),
}
"""Folders whose modules may load more than the base as they are imported, since they do the work of these extras."""

OF_ROS_ALONE = {"vision-msgs"}
"""What only the package manager of a robot brings: no package index has it, and the node does without it."""
HOST = {canonicalize_name("triton_python_backend_utils")}
"""Modules that the program which runs a file brings, and no package: a server's own."""

PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def project() -> dict[str, Any]:
    found = pyproject()["project"]
    assert isinstance(found, dict)
    return found


def requirements(*extras: str) -> Iterator[Requirement]:
    """What the base and these extras ask for, extras that name extras unfolded."""
    yield from map(Requirement, project()["dependencies"])
    for extra in extras:
        for line in project()["optional-dependencies"][extra]:
            wanted = Requirement(line)
            if canonicalize_name(wanted.name) == project()["name"]:
                yield from requirements(*wanted.extras)
            else:
                yield wanted


def names(*extras: str) -> set[str]:
    return {canonicalize_name(wanted.name) for wanted in requirements(*extras)}


class Imports(ast.NodeVisitor):
    """The foreign modules that a file names: those it loads when imported on Python 3.10, and those it loads later."""

    def __init__(self, text: str) -> None:
        self.early: set[str] = set()
        self.late: set[str] = set()
        self._found = self.early
        self.visit(ast.parse(text))

    def visit_Import(self, node: ast.Import) -> None:
        self._add(*(alias.name for alias in node.names))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert not node.level, "imports are absolute"
        self._add(node.module or "")

    def visit_Call(self, node: ast.Call) -> None:
        callee = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if callee == "import_module" and isinstance(node.args[0], ast.Constant):
            self._add(node.args[0].value)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._later([node])

    def visit_If(self, node: ast.If) -> None:
        condition = ast.unparse(node.test)
        if condition == "TYPE_CHECKING":
            self._later(node.body)
        elif condition != "sys.version_info >= (3, 11)":
            for statement in node.body:
                self.visit(statement)
        for statement in node.orelse:
            self.visit(statement)

    def _later(self, nodes: list[Any]) -> None:
        before, self._found = self._found, self.late
        for node in nodes:
            self.generic_visit(node) if isinstance(node, ast.FunctionDef) else self.visit(node)
        self._found = before

    def _add(self, *modules: str) -> None:
        standard = sys.stdlib_module_names - NEWER_THAN_310
        for top in (module.partition(".")[0] for module in modules):
            if top not in standard and top not in ("advcal_edge", "__future__"):
                self._found.add(canonicalize_name(DISTRIBUTIONS.get(top, top)))


def sources() -> Iterator[tuple[str, Path]]:
    """Each file of the package with the folder whose layer it belongs to."""
    for top in ("advcal_edge", "calibrate", "export", "robot", "runtime"):
        for file in sorted((ROOT / top).rglob("*.py")):
            inner = file.relative_to(ROOT / top).parts
            if top != "advcal_edge":
                yield top, file
            elif inner[0] not in ("calibrate", "export", "robot", "runtime"):
                yield inner[0] if len(inner) > 1 else "core", file


def test_what_loads_at_import_is_declared() -> None:
    undeclared = {
        (str(file.relative_to(ROOT)), name)
        for layer, file in sources()
        for name in Imports(file.read_text()).early - names(*AT_IMPORT.get(layer, ())) - OF_ROS_ALONE
    }
    assert not undeclared


def test_what_loads_later_belongs_to_an_extra() -> None:
    offered = names(*(extra for extra in project()["optional-dependencies"] if extra not in ("test", "dev")))
    unoffered = {
        (str(file.relative_to(ROOT)), name)
        for _, file in sources()
        for name in Imports(file.read_text()).late - offered - HOST
    }
    assert not unoffered


def test_an_error_about_a_dependency_names_the_extra_that_brings_it() -> None:
    named = 0
    for _, file in sources():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "load_library":
                package, extra_name = (ast.literal_eval(argument) for argument in node.args[1:3])
                named += 1
                assert canonicalize_name(package) in names(extra_name), (file, ast.unparse(node))
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "DependencyError" and node.args):
                continue
            extra = {word.arg: word.value for word in node.keywords}["extra"]
            if isinstance(node.args[0], ast.Constant) and isinstance(extra, ast.Constant):
                named += 1
                assert canonicalize_name(node.args[0].value) in names(extra.value), (file, ast.unparse(node))
    assert named > 10


def test_imports_are_found_where_they_hide() -> None:
    found = Imports(
        "import sys, tomllib, a.b\n"
        "from c import d\n"
        "if sys.version_info >= (3, 11):\n    import new\nelse:\n    import old\n"
        "if TYPE_CHECKING:\n    import typed\n"
        "class K:\n    import e\n    def f(self):\n        import g\n"
        "def h():\n    return import_module('i')\n"
    )
    assert found.early == {"tomllib", "a", "c", "old", "e"}
    assert found.late == {"typed", "g", "i"}


@cache
def pins(python: str) -> dict[str, Requirement]:
    """constraints.txt as one Python sees it."""
    found: dict[str, Requirement] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        pin = Requirement(line)
        if pin.marker is None or pin.marker.evaluate({"python_version": python, "python_full_version": f"{python}.0"}):
            assert canonicalize_name(pin.name) not in found, f"{pin.name} is pinned twice for Python {python}"
            found[canonicalize_name(pin.name)] = pin
    return found


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_is_pinned_within_its_range(python: str) -> None:
    for wanted in requirements("dev"):
        if wanted.marker and not wanted.marker.evaluate(
            {"python_version": python, "sys_platform": "linux", "platform_machine": "x86_64"}
        ):
            continue
        version = str(pins(python)[canonicalize_name(wanted.name)].specifier).removeprefix("==")
        assert wanted.specifier.contains(version), f"{wanted} on Python {python}, but constraints.txt has {version}"


def test_every_dependency_is_explained_with_its_range() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    rows = {row[0].strip(" `"): row[1].strip(" `") for row in re.findall(r"^\|([^|]+)\|([^|]+)\|", text, re.MULTILINE)}
    runtime = [extra for extra in project()["optional-dependencies"] if extra not in ("workstation", "test", "dev")]
    for wanted in requirements(*runtime):
        stated = rows.get(wanted.name)
        assert stated is not None, f"docs/dependencies.md has no row for {wanted.name}"
        for bound in wanted.specifier:
            assert str(bound) in stated, f"docs/dependencies.md says {stated} of {wanted}"


def closure(*extras: str) -> dict[str, metadata.Distribution]:
    """Every distribution that these extras bring, as installed here."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [(wanted, "") for wanted in requirements(*extras)]
    asked = set()
    while waiting:
        wanted, extra = waiting.pop()
        if (str(wanted), extra) in asked or (wanted.marker and not wanted.marker.evaluate({"extra": extra})):
            continue
        asked.add((str(wanted), extra))
        distribution = metadata.distribution(wanted.name)
        found[canonicalize_name(wanted.name)] = distribution
        further = [Requirement(line) for line in distribution.requires or ()]
        waiting += [(one, inner) for one in further for inner in ("", *wanted.extras)]
    return found


def license_words(distribution: metadata.Distribution) -> str:
    """What a distribution says of its licence: the first line of the text where it quotes a whole one."""
    said = distribution.metadata
    classifiers = [line for line in said.get_all("Classifier", []) if line.startswith("License ::")]
    quoted = [line for line in (said.get("License") or "").splitlines() if line.strip()][:2]
    return "; ".join([said.get("License-Expression") or "", *quoted, *classifiers]).strip("; ")


def copyleft(words: str) -> bool:
    """Whether there is no way around the GPL or the AGPL; the LGPL, an exception to the rule or a choice is one."""
    return any(
        re.search(r"\bA?GPL|GNU (Affero )?General Public", clause, re.IGNORECASE)
        and not re.search(r"\bWITH\b|\bOR\b(?! (any )?later)", clause)
        for clause in words.split(";")
    )


@pytest.mark.parametrize(
    ("words", "is_copyleft"),
    [
        ("GPL-3.0-or-later", True),
        ("License :: OSI Approved :: GNU General Public License v3 or later (GPLv3+)", True),
        ("GNU AFFERO GENERAL PUBLIC LICENSE", True),
        ("AGPL-3.0", True),
        ("LGPL-2.1-or-later", False),
        ("License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)", False),
        ("BSD-3-Clause AND GPL-3.0-or-later WITH GCC-exception-3.1", False),
        ("MIT OR GPL-2.0-only", False),
        ("Apache-2.0", False),
    ],
)
def test_words_of_licences(words: str, is_copyleft: bool) -> None:
    assert copyleft(words) is is_copyleft


def test_a_workstation_gets_no_gpl() -> None:
    said = {name: license_words(one) for name, one in closure("workstation").items()}
    assert len(said) > 30
    assert not [name for name, words in said.items() if not words], "nothing is said of a licence"
    assert not {name: words for name, words in said.items() if copyleft(words)}
