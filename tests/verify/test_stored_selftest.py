"""What `verify` stores for the self-test catches broken engines, and honest ones repeat it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from gates import gated
from numpy.typing import NDArray
from runs import TEST_BUDGET
from saboteurs import GRAPHS, StaleBuffer, sabotage

from advcal_edge.bundle import Bundle
from advcal_edge.expectations import ADVERSARIAL, CLEAN, TIE, Expectations
from advcal_edge.runtime.model import open_runner
from advcal_edge.runtime.selftest import replay
from advcal_edge.verify import HeldOut, ModelSet, State, Verification
from advcal_edge.verify.model_set import embed
from advcal_edge.verify.models import open_engine, open_torch_reference
from advcal_edge.verify.selftest import BYTES, collect_expectations

PRECISIONS = ("fp32", "fp16", "int8")
UNSEEN = {"batch_of_seven", "coloured_on_the_grid", "strong_colour", "little_colour", "lifted", "sleeper"}
"""Engines that are honest on every stored input, in every stored batch: only `verify` finds them."""
BY_CHANCE = {"coloured_alone"}
"""Shows on a few crafted inputs of some bundles, and on none of others."""


@pytest.fixture(scope="module")
def stored(exported: Bundle) -> dict[str, Expectations]:
    """What three engines of one bundle must repeat."""
    reference = open_torch_reference(exported)
    engines = {p: open_engine(exported, exported.file(f"onnx/forward.{p}.onnx")) for p in PRECISIONS}
    probe = exported.probe().head(24)
    held_out = HeldOut.of(probe, exported.threat, seed=0, anchor=embed(reference, probe.x))
    models = ModelSet(replace(reference, info={"kind": "torch", "fingerprint": "test"}), engines, {})
    with State.temporary() as state:
        run = Verification(models, exported.modality, held_out, TEST_BUDGET, 0.02, state)
        run.run()
        found = {p: collect_expectations(run, p) for p in PRECISIONS}
        again = collect_expectations(
            Verification(models, exported.modality, held_out, TEST_BUDGET, 0.02, state), "fp32"
        )
    assert again.to_bytes() == found["fp32"].to_bytes()  # a run that is resumed or merged stores the same
    return found


def failures(stored: Expectations, bundle: Bundle, path: Path) -> tuple[str, ...]:
    runner = open_runner(path, bundle.modality.input)
    return replay(stored, runner.run, bundle.centers()).failures


def test_what_is_stored(stored: dict[str, Expectations]) -> None:
    for expected in stored.values():
        assert {CLEAN, TIE, ADVERSARIAL} == {*expected.kind.tolist()}
        assert expected.x.nbytes <= BYTES


@pytest.mark.parametrize("precision", PRECISIONS)
def test_each_precision_repeats_itself(exported: Bundle, stored: dict[str, Expectations], precision: str) -> None:
    path = exported.file(f"onnx/forward.{precision}.onnx")
    assert not failures(stored[precision], exported, path)


@pytest.mark.parametrize("name", ["coarse_weights", "added_noise", "leaking_rows", "shuffled_outputs"])
def test_broken_engines_are_caught(
    exported: Bundle, stored: dict[str, Expectations], name: str, tmp_path: Path
) -> None:
    broken = sabotage(exported.file("onnx/forward.fp32.onnx"), tmp_path / "broken.onnx", GRAPHS[name])
    assert failures(stored["fp32"], exported, broken)


def test_a_stale_buffer_is_caught(exported: Bundle, stored: dict[str, Expectations]) -> None:
    runner = StaleBuffer(open_runner(exported.file("onnx/forward.fp32.onnx"), exported.modality.input))
    assert replay(stored["fp32"], runner, exported.centers()).failures


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_other_kernels_pass(exported: Bundle, stored: dict[str, Expectations], precision: str, threads: int) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    path = exported.file(f"onnx/forward.{precision}.onnx")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def embed(x: NDArray[np.float32]) -> NDArray[np.float32]:
        z: NDArray[np.float32] = session.run(None, {"x": x})[0]
        return z

    result = replay(stored[precision], embed, exported.centers())
    assert not result.failures, result


@pytest.mark.slow
def test_the_catalogue(exported: Bundle, stored: dict[str, Expectations], tmp_path: Path) -> None:
    source = exported.file("onnx/forward.fp32.onnx")
    unseen = set()
    for name, edit in {**GRAPHS, **gated(exported)}.items():
        if not failures(stored["fp32"], exported, sabotage(source, tmp_path / f"{name}.onnx", edit)):
            unseen.add(name)
    assert unseen - BY_CHANCE == UNSEEN
