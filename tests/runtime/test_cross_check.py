"""Polygraphy as a second opinion, really run on graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import Linear

from advcal_edge.bundle import Bundle
from advcal_edge.errors import DependencyError, EngineError
from advcal_edge.runtime import cross_check as second
from advcal_edge.runtime.cross_check import cross_check
from advcal_edge.runtime.model import open_runner
from advcal_edge.spec import thermal

X = np.random.default_rng(0).random((5, 1, 8, 8), dtype=np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "f.onnx"
    target.write_bytes(Linear.random(thermal(8)).forward())
    return target


def test_both_agree_on_the_same_engine(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("polygraphy")
    found = cross_check(open_runner(path, thermal(8).input), X)
    assert found.samples == 5
    assert found.tool.startswith("polygraphy ")
    assert found.relative_l2 < 1e-6
    assert capfd.readouterr() == ("", "")


def test_int8_products_are_exact_in_both(exported: Bundle) -> None:
    """On x86 processors without VNNI ONNX Runtime's own choice saturates: 3 % off on this graph."""
    pytest.importorskip("polygraphy")
    runner = open_runner(exported.file("onnx/forward.int8.onnx"), exported.modality.input)
    assert cross_check(runner, exported.probe(16).x).relative_l2 < 1e-5
    assert exported.section("graphs")["files"]["onnx/forward.int8.onnx"]["fidelity"]["cosine_min"] > 0.999


def test_another_engine_under_the_same_name_is_found(path: Path) -> None:
    pytest.importorskip("polygraphy")
    runner = open_runner(path, thermal(8).input)
    path.write_bytes(Linear.random(thermal(8), seed=1).forward())
    with pytest.raises(EngineError, match="disagree about"):
        cross_check(runner, X)
    path.write_bytes(b"no graph")
    with pytest.raises(EngineError, match="`polygraphy run` does not run"):
        cross_check(runner, X)


def test_without_polygraphy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = open_runner(path, thermal(8).input)
    monkeypatch.setattr(second, "find_spec", lambda name: None)
    with pytest.raises(DependencyError, match="`--cross-check` needs the package `polygraphy`"):
        cross_check(runner, X)
