from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

from sample_report import passing

from advcal_edge.verify import checks

GUIDE = Path(__file__).parents[2] / "docs" / "verify.md"


def check_names() -> set[str]:
    """Every function of the checks that returns a check."""
    modules = [importlib.import_module(f"{checks.__name__}.{m.name}") for m in pkgutil.iter_modules(checks.__path__)]
    return {
        name
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and inspect.signature(function).return_annotation == "Check"
    }


def test_guide_explains_every_check_under_its_own_name() -> None:
    headings = re.findall(r"^### `(\w+)`$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(headings) == check_names()
    assert len(headings) == len(set(headings))


def test_sample_holds_every_check() -> None:
    assert {check["name"] for check in passing()["checks"]} == check_names()
