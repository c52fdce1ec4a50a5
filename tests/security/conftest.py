"""A whole bundle to be made hostile, and code that must never run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hostile import SECTIONS
from tiny import Linear, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.spec import thermal


@pytest.fixture(autouse=True)
def own_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test trusts, no other test does: bundles made alike are one to whoever trusts them."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def whole(tmp_path: Path) -> Bundle:
    """A bundle with every section that a manifest may have; thermal, with engine, gradient and a report."""
    bundle = write_bundle(tmp_path / "B", Linear.random(thermal(8)), ("fp32",), {"fp32": "pass"}, gradient=True)
    return bundle.add({}, **SECTIONS)


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that appears when the module `canary` is imported or its `factory` is called."""
    sung = tmp_path / "sung"
    code = f"from pathlib import Path\nPath({str(sung)!r}).touch()\ndef factory(*_):\n    Path({str(sung)!r}).touch()\n"
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "canary.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.delitem(sys.modules, "canary", raising=False)
    return sung
