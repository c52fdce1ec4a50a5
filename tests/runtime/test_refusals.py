"""No refusal of what a sensor gave comes without a word on what mends it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from advcal_edge.runtime import sensors

MODULES = sorted(Path(sensors.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_every_input_error_carries_a_hint(module: Path) -> None:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "InputError":
            hints = [word.value for word in node.keywords if word.arg == "hint"]
            assert hints, f"{module.name}:{node.lineno}"
            bare = [
                part
                for hint in hints
                for part in ast.walk(hint)
                if isinstance(part, ast.Constant) and part.value is None
            ]
            assert not bare, f"{module.name}:{node.lineno} may have no hint"
