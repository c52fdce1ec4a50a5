"""A backend of an installed package, as `docs/engines.md` has it: found by suffix, imported when a file is opened."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import BundleMaker, Linear, write_bundle

from advcal_edge.cli import main
from advcal_edge.errors import ConfigError, EngineError
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.model import open_runner, open_vjp
from advcal_edge.spec import thermal

PAGE = Path(__file__).parents[3] / "docs" / "engines.md"
LINEAR = Linear.random(thermal(8))


def install(folder: Path, name: str, code: str) -> None:
    """A package that registers `Toy` for the suffix `.toy`."""
    (folder / f"{name}.py").write_text(code)
    info = folder / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[advcal_edge.backends]\ntoy = {name}:Toy\n")


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An engine of the package that the page describes, computing what the tiny encoder computes."""
    section = PAGE.read_text(encoding="utf-8").split("## Another runtime")[1]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert code is not None
    packages = tmp_path / "packages"
    packages.mkdir()
    install(packages, "toy_runtime", code[1])
    monkeypatch.syspath_prepend(packages)
    monkeypatch.delitem(sys.modules, "toy_runtime", raising=False)
    path = tmp_path / "encoder.toy"
    path.write_bytes(LINEAR.weights.astype(np.float32).tobytes())
    return path


def test_the_embedder_runs_it(toy: Path, make_bundle: BundleMaker) -> None:
    bundle = make_bundle(LINEAR).path
    Embedder.load(bundle)
    assert "toy_runtime" not in sys.modules
    embedder = Embedder.load(bundle, str(toy))
    assert embedder.fingerprint.startswith("toy 1.0 sha256:")
    assert (embedder.precision, embedder.verified) == ("custom", False)
    x = np.random.default_rng(0).random((70, 1, 8, 8), dtype=np.float32)  # more than one run takes
    np.testing.assert_allclose(embedder(x), LINEAR.embed(x), atol=1e-5)


def test_verify_attacks_it(toy: Path, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "B", LINEAR, ("fp32",), {}, gradient=True)
    options = ["--engine", str(toy), "--reference", "onnx", "--samples", "8", "--sources", "none"]
    assert main(["verify", str(bundle.path), *options]) in (0, 1)
    report = json.loads(next(bundle.path.glob("reports/*/report.json")).read_text())
    assert report["measured"]["engine"]["fingerprint"].startswith("toy 1.0")
    assert "onnxruntime" in report["measured"]["engine"]["gradient"]


def test_another_shape_is_a_misfit(toy: Path) -> None:
    with pytest.raises(
        EngineError, match=r"engine `.*` is `x` float32 \(n, 1, 8, 8\) -> `z` float32 \(n, 6\); expected"
    ):
        open_runner(toy, thermal(16).input)
    with pytest.raises(EngineError, match="`v` float32"):
        open_vjp(toy, thermal(8).input)


def test_two_packages_for_one_suffix_are_refused(toy: Path) -> None:
    install(toy.parent / "packages", "other_runtime", "")
    with pytest.raises(ConfigError, match=r"`other_runtime:Toy` and `toy_runtime:Toy` both open `\.toy`"):
        open_runner(toy, thermal(8).input)


def test_a_suffix_that_nobody_registered_is_opened_as_a_graph(tmp_path: Path) -> None:
    (tmp_path / "encoder.strange").write_bytes(LINEAR.forward())
    assert "onnxruntime" in open_runner(tmp_path / "encoder.strange", thermal(8).input).fingerprint
