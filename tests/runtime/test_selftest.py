"""The self-test of an embedder: passes where it was verified, is retested elsewhere, and refuses what changed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from replayed import stored_for
from tiny import BundleMaker, Linear

from advcal_edge import Embedder
from advcal_edge.bundle import Bundle
from advcal_edge.cli import main
from advcal_edge.errors import BundleError, ConfigError, EngineError
from advcal_edge.expectations import ADVERSARIAL, Expectations, selftest_name
from advcal_edge.runtime.selftest import replay
from advcal_edge.spec import thermal

Floats = NDArray[np.float32]


@pytest.fixture
def passing(make_bundle: BundleMaker) -> Bundle:
    return make_bundle(Linear.random(thermal(8)), verdicts={"fp32": "pass"})


def test_an_engine_where_it_was_verified(passing: Bundle) -> None:
    embedder = Embedder.load(stored_for(passing).path, selftest=True, require_verified=True)
    assert embedder.selftest is not None
    assert embedder.selftest.status == "verified"
    assert embedder.verified
    assert embedder.selftest.moved < 1e-6
    assert Embedder.load(passing.path).selftest is None


def test_another_place_is_retested_and_not_verified(passing: Bundle) -> None:
    path = stored_for(passing, place={"runs on": "onnxruntime 1.0.0", "processor": "another"}).path
    embedder = Embedder.load(path, selftest=True)
    assert embedder.selftest is not None
    assert embedder.selftest.status == "retested"
    assert not embedder.verified
    assert any("onnxruntime 1.0.0 when verified" in words for words in embedder.selftest.differences)
    with pytest.raises(EngineError, match="only retested here"):
        Embedder.load(path, selftest=True, require_verified=True)
    assert Embedder.load(path, selftest=True, require_verified="retested").selftest is not None
    with pytest.raises(ConfigError, match="needs the self-test"):
        Embedder.load(path, require_verified="retested")


def test_an_engine_that_moved_is_refused(passing: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    path = stored_for(passing, turned=0.1).path
    with pytest.raises(EngineError, match="embeddings moved"):
        Embedder.load(path, selftest=True)
    assert main(["selftest", str(path), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["status"] == "failed"
    assert document["failures"]


def test_the_command_passes(passing: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", str(stored_for(passing).path)]) == 0
    assert capsys.readouterr().out.startswith("verified: ")


def test_nothing_stored_and_no_report(make_bundle: BundleMaker, passing: Bundle) -> None:
    with pytest.raises(BundleError, match="stores it with a pass"):
        Embedder.load(passing.path, selftest=True)
    unverified = make_bundle(verdicts={"fp32": "inconclusive"})
    with pytest.raises(EngineError, match="no passing report"):
        Embedder.load(unverified.path, selftest=True)


def test_a_changed_file_is_refused(passing: Bundle) -> None:
    bundle = stored_for(passing)
    file = next(bundle.path.glob("reports/*/selftest.npz"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match="changed or truncated"):
        Embedder.load(bundle.path, selftest=True)


def test_expectations_of_another_engine_are_refused(passing: Bundle) -> None:
    bundle = stored_for(passing)
    embedder = Embedder.load(bundle.path)
    sha256, width = embedder.runner.sha256, embedder.centers.dim
    stored = Expectations.read(bundle, sha256, embedder.spec, width, len(embedder.labels))
    bundle = bundle.add({selftest_name(sha256): replace(stored, sha256="0" * 64).to_bytes()})
    with pytest.raises(BundleError, match="expected `advcal-edge/selftest/1` about engine"):
        Embedder.load(bundle.path, selftest=True)


def test_ties_may_flip_and_others_may_not(passing: Bundle) -> None:
    bundle = stored_for(passing)
    embedder = Embedder.load(bundle.path)
    centers = embedder.centers
    stored = Expectations.read(bundle, embedder.runner.sha256, embedder.spec, centers.dim, len(embedder.labels))
    apart = centers.vectors[0] - centers.vectors[1]
    middle = centers.vectors[0] + centers.vectors[1]

    def between(step: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        z = np.tile(middle + np.float32(step) * apart, (len(stored.x), 1))
        unit: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = z / np.linalg.norm(z, axis=1, keepdims=True)
        return unit.astype(np.float32)

    for step, passes in ((1e-4, True), (0.05, False)):
        before = replace(stored, z=between(step), reference=between(step))
        result = replay(before, lambda x, step=step: between(-step)[: len(x)], centers)  # type: ignore[misc]
        assert (not result.failures) == passes, result.failures


@pytest.mark.parametrize(("crafted", "allowed"), [(49, 0), (50, 1), (100, 2)])
def test_two_in_a_hundred_adversarial_inputs_may_newly_succeed(passing: Bundle, crafted: int, allowed: int) -> None:
    """Every change lies within two roundings, and no decision is a tie: only the number of wins decides."""
    embedder = Embedder.load(passing.path)
    centers, rounding = embedder.centers, 0.03
    middle, apart = centers.vectors[0] + centers.vectors[1], centers.vectors[0] - centers.vectors[1]

    def beside(step: float) -> Floats:
        """A unit vector at this distance from those between the two nearest centers."""
        along = np.float32(step) * apart / np.linalg.norm(apart)
        unit: Floats = middle / np.linalg.norm(middle) * np.sqrt(1 - np.float32(step) ** 2) + along
        return unit.astype(np.float32)

    before, wrong = beside(0.05), beside(-0.001)
    label = int(centers.predict(before[None])[0])
    assert int(centers.predict(wrong[None])[0]) != label
    assert centers.margins(before[None])[0] > 2 * rounding
    z, reference = (np.tile(vector, (crafted, 1)) for vector in (before, beside(0.05 + rounding)))
    kind, y = np.full(crafted, ADVERSARIAL, np.int64), np.full(crafted, label, np.int64)
    x = np.zeros((crafted, *embedder.spec.shape), np.float32)
    x[:, 0, 0, 0] = np.arange(crafted)  # so that each input can be told
    stored = Expectations(x, y, kind, z, reference, embedder.runner.sha256, {})
    for won in (allowed, allowed + 1):
        result = replay(stored, lambda x, won=won: np.where(x[:, :1, 0, 0] < won, wrong, before), centers)  # type: ignore[misc]
        assert result.flips == won
        assert (not result.failures) == (won == allowed), result.failures
        assert all(f"expected at most {allowed}" in words for words in result.failures)
