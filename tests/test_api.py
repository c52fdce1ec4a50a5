"""The Python API: three verbs under the names of their packages, and the examples in their docstrings."""

from __future__ import annotations

import doctest
import importlib
import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import Linear, write_bundle

import advcal_edge
from advcal_edge import Bundle, ExportOptions, VerifyOptions
from advcal_edge.errors import ConfigError
from advcal_edge.spec import image

VERBS = ("calibrate", "export", "verify")
EXAMPLES = {
    "configure": "advcal_edge.calibrate.presets",
    "calibrate": "advcal_edge.calibrate.run",
    "export": "advcal_edge.export.run",
    "verify": "advcal_edge.verify.run",
}
"""Functions whose docstrings have an example, and their modules."""


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_a_docstring_holds(
    name: str, exported: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if name in ("export", "verify"):
        shutil.copytree(exported.path, "B")
    function = getattr(importlib.import_module(EXAMPLES[name]), name)
    (example,) = doctest.DocTestFinder(recurse=False).find(function, name, globs={name: function})
    assert example.examples
    lines: list[str] = []
    assert doctest.DocTestRunner(verbose=False).run(example, out=lines.append).failed == 0, "".join(lines)


@pytest.mark.parametrize("first", [f"import advcal_edge.{verb}" for verb in VERBS] + ["pass"])
def test_a_verb_is_callable_in_whatever_order_things_are_imported(first: str) -> None:
    """A package and a function cannot share a name; importing a submodule would put the package in its place."""
    code = f"{first}; from advcal_edge import calibrate, export, verify; import advcal_edge.verify.budget as b"
    code += "; print(all(map(callable, (calibrate, export, verify))), verify.BUDGETS is b.BUDGETS)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


def test_everything_listed_is_there_and_documented() -> None:
    for name in advcal_edge.__all__:
        found = getattr(advcal_edge, name)
        assert name == "__version__" or inspect.getdoc(found)
    with pytest.raises(AttributeError, match="no attribute `verfy`"):
        advcal_edge.verfy  # noqa: B018


def test_the_package_itself_loads_nothing_of_the_verbs() -> None:
    code = "import sys, advcal_edge; print([m for m in sys.modules if m.startswith('advcal_edge.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_verbs_take_paths_as_text_and_bundles(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "B", Linear.random(image(4)), ("fp32",), {}, samples=16, gradient=True)
    options = VerifyOptions(engine="fp32", samples=16, sources="none", reference="onnx")
    (report,) = advcal_edge.verify(str(bundle.path), options, state=tmp_path / "state")
    (again,) = advcal_edge.verify(bundle, options, state=tmp_path / "state")
    assert report.verdict == again.verdict == "inconclusive"
    assert Bundle.open(str(bundle.path)).identity() == bundle.identity()
    assert not (tmp_path / "state").exists()


def test_options_that_make_no_sense_are_refused_with_words(exported: Bundle) -> None:
    with pytest.raises(ConfigError, match="without `--trt`"):
        advcal_edge.export(exported, ExportOptions(settings={"memory": 1024}))
    with pytest.raises(ConfigError, match="unknown attack budget `quik`"):
        advcal_edge.verify(exported, VerifyOptions(attacks="quik"))
