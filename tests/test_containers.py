"""The container recipe installs what the project declares, and no torch. No docker runs here."""

from __future__ import annotations

import re

from checkout import ROOT, pyproject

RECIPE = ROOT / "docker/jetson/Dockerfile"


def test_the_container_installs_extras_that_exist_and_bring_no_torch() -> None:
    found = re.search(r"advcal_edge-\*\.whl\)\[([a-z,]+)\]", RECIPE.read_text())
    assert found is not None
    offered = pyproject()["project"]["optional-dependencies"]
    wanted = [line for name in found[1].split(",") for line in offered[name]]
    assert wanted
    assert not [line for line in wanted if re.match(r"torch|onnx\b|advcal-edge", line)]


def test_what_the_recipe_copies_is_what_the_guide_puts_there() -> None:
    guide = (ROOT / "docs/jetson.md").read_text()
    copied = re.findall(r"^COPY (.+) \S+$", RECIPE.read_text(), re.MULTILINE)
    assert copied == ["constraints.txt advcal_edge-*.whl"]
    assert "pip wheel --no-deps -w docker/jetson ." in guide
    assert "cp constraints.txt docker/jetson/" in guide
