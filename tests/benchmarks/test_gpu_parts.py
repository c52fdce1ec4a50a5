"""The parts of `benchmarks/gpu.py`: counts by hand, intervals against scipy, processes that crash or hang."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gpu_bench import calibrating, crafting, processes, roofline, trunks, verifying
from gpu_bench.clock import Clock
from gpu_bench.plain_loop import PlainLoop
from gpu_bench.rows import Cell, Row, Spread
from gpu_bench.settings import GROUPS, Settings, parse
from gpu_bench.subjects import LANGUAGEBIND, SUBJECTS
from gpu_bench.summary import draw, goals, judge
from hypothesis import given, strategies as st
from scipy import stats
from tiny import Linear, write_bundle
from torch import nn

from advcal_edge.calibrate.adapters import attach_adapter
from advcal_edge.calibrate.presets import configure
from advcal_edge.encoders.imagebind.published import HUGE
from advcal_edge.spec import image
from advcal_edge.threat import ThreatModel
from advcal_edge.verify.options import VerifyOptions

CELL = Cell("backend", "thermal", "torch eager", "fp32", 2)


def settings(tmp_path: Path, *arguments: str) -> Settings:
    return parse("", ["--encoder", "tiny", "--modalities", "thermal", "--seconds", "0.05", *arguments], tmp_path)


@pytest.mark.parametrize("modality", ["thermal", "audio"])
def test_operations_of_the_published_trunk(modality: str) -> None:
    config = HUGE[modality]
    w, t = config.width, config.tokens
    linear = t * w * (3 * w + w + 8 * w)  # queries, keys and values; projection; both maps of the MLP
    attention = 2 * t * (t + 1) * w  # every query meets one learned key and value more
    ends = (t - 1) * 16 * 16 * w + w * config.embedding_dim
    cost = trunks.cost(modality, "imagebind")
    assert cost.forward == 2 * (config.depth * (linear + attention) + ends)
    # the input's gradient: once more for every map, twice for attention, whose both sides need one
    assert cost.both - cost.forward == 2 * (config.depth * (linear + 2 * attention) + ends)
    assert cost.values == np.prod(config.shape) + config.embedding_dim


def test_bound_is_the_slower_of_both() -> None:
    cost = trunks.Cost(forward=10**9, both=0, parameters=10**6, values=10**3)
    assert roofline.bound(cost, 8, "fp32", peak=1.0, bandwidth=1e6) == pytest.approx(8.0)
    assert roofline.bound(cost, 8, "bf16", peak=1e6, bandwidth=1.0) == pytest.approx((2e6 + 4 * 8e3) / 1e9 * 1e3)


@given(st.integers(6, 300), st.integers(0, 2**32 - 1))
def test_interval_of_a_median_is_scipys(n: int, seed: int) -> None:
    values = np.random.default_rng(seed).random(n)
    found = Spread.of(list(values))
    theirs = stats.quantile_test(values, q=0.5, p=0.5).confidence_interval(0.95)
    assert (found.low, found.high) == (theirs.low, theirs.high)
    assert found.median == np.median(values)
    assert found.confidence >= 0.95


def test_interval_of_few_says_what_it_covers() -> None:
    assert Spread.of([3.0]) == Spread(3.0, 3.0, 3.0, 1, 0.0)
    few = Spread.of([1.0, 5.0, 2.0, 3.0, 4.0])
    assert (few.low, few.high) == (1.0, 5.0)
    assert few.confidence == pytest.approx(1 - 2 / 2**5)


def test_clock_repeats_at_least_five_times() -> None:
    clock = Clock(torch.device("cpu"), 0.0)
    calls: list[int] = []
    assert len(clock.latency(lambda: calls.append(1))) == len(calls) == 5
    calls.clear()
    assert len(clock.pace(lambda: calls.append(1), milliseconds=4.0)) == 5
    assert len(calls) == 5 * 5  # blocks of 20 ms


def test_rows_survive_the_way_between_processes() -> None:
    for row in (Row(CELL, "ms", Spread.of([1.0, 2.0]), figures={"note": "a"}), Row(CELL, reason="not available: b")):
        assert Row.from_json(json.loads(json.dumps(row.to_json()))) == row


def test_cells_that_lack_a_figure_for_one_reason_share_a_line() -> None:
    rows = [
        Row(Cell("backend", "thermal", "TensorRT", p, n), reason="not here") for p in ("fp32", "fp16") for n in (1, 8)
    ]
    other = Row(Cell("backend", "thermal", "TensorRT", "bf16", 1), reason="no such graph")
    lines = draw([*rows, other, Row(CELL, "ms", Spread.of([1.0]))]).splitlines()[1:]
    assert [line.split()[:4] for line in lines[:2]] == [
        ["TensorRT", "thermal", "fp32,fp16", "1,8"],
        ["TensorRT", "thermal", "bf16", "1"],
    ]
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended by SIGSEGV"),
        ("raise MemoryError('no room')", "MemoryError: no room"),
        ("import time; time.sleep(60)", "`--minutes`"),
    ],
    ids=["crash", "error", "hang"],
)
def test_a_process_that_ends_badly_costs_its_own_rows(tmp_path: Path, code: str, reason: str) -> None:
    first, second = CELL, Cell("backend", "thermal", "torch.compile", "fp32", 2)
    kept = Row(first, "ms", Spread.of([1.0]))
    writes = f"import sys; open(sys.argv[2], 'w').write({json.dumps(kept.to_json())!r} + '\\n' + '{{\"half')\n"
    rows = processes.run_one("torch", [first, second], tmp_path, ["-c", writes + code], limit=1.5)
    assert rows[0] == kept
    assert rows[1].value is None
    assert reason in str(rows[1].reason)


def test_no_time_left_is_a_reason(tmp_path: Path) -> None:
    rows, _ = processes.run_all(settings(tmp_path, "--skip", "verify"), ["-c", "1"], deadline=0.0, say=lambda _: None)
    assert {row.cell for row in rows} == {c for name in GROUPS for c in processes.GROUP[name].cells(settings(tmp_path))}
    assert {str(row.reason) for row in rows} == {
        "left out, as asked",
        "not measured: no time was left for it; raise `--minutes`",
    }


def test_ceilings_of_another_device_bound_nothing() -> None:
    ceilings = [
        Row(Cell("roofline", "", roofline.MATRIX, "fp32", 0), "TFLOP/s", Spread.of([1.0]), figures={"device": "cuda"}),
        Row(Cell("roofline", "", roofline.COPY, "", 0), "GB/s", Spread.of([1.0]), figures={"device": "cuda"}),
    ]
    costs = {"thermal": trunks.Cost(10**9, 2 * 10**9, 10**6, 10**3)}
    here = Row(CELL, "ms", Spread.of([8.0]), figures={"device": "cuda"})
    there = Row(CELL, "ms", Spread.of([8.0]), figures={"device": "cpu"})
    judged = {str(row.figures["device"]): row for row in judge([*ceilings, here, there], costs) if row.cell == CELL}
    assert "times_bound" not in judged["cpu"].figures
    assert judged["cuda"].figures["times_bound"] == pytest.approx(8.0 / (4 * (10**6 + 2 * 10**3) / 1e9 * 1e3))
    assert "0 of 1 cells" in goals(list(judged.values()))[0]


def test_compiled_crafting_has_the_plain_gradient(tmp_path: Path) -> None:
    asked = settings(tmp_path, "--craft-steps", "2")
    row = crafting.measure(Cell(crafting.PART, "thermal", crafting.COMPILED, "bf16", asked.craft_batch), asked)
    assert row.value is not None
    assert row.value.low > 0
    assert row.figures["cosine"] > 0.99


def test_operations_of_a_step_of_calibration() -> None:
    n, i, d, k, steps = 7, 3, 5, crafting.CLASSES, 2
    config = configure(modality="image", adapter={"kind": "head"}, craft={"steps": steps})
    model = attach_adapter(nn.Linear(i, d), config.adapter, d, seed=0)
    loop = PlainLoop(model, crafting.centers(d), ThreatModel("linf", 0.1, (0.0, 1.0)), config)
    trunk, head, scores = i * d, d * d, d * k
    craft = steps * n * 2 * (trunk + head + scores)  # forward, and back to the input
    train = 2 * n * (trunk + 2 * head + 2 * scores)  # attacked and clean samples; back to the head and no further
    assert calibrating.count_step(loop, torch.ones(n, i), d) == 2 * (craft + train)


def test_operations_of_a_step_on_published_encoders() -> None:
    vision = LANGUAGEBIND.vision
    w, t, depth = vision.transformer.width, vision.tokens, vision.transformer.depth
    one = depth * (12 * t * w * w + 2 * t * t * w)  # of a forward pass, stem and projection left out
    found = calibrating.operations("LanguageBind image", "imagebind", 2)
    # two passes forward and back to the input, and one on twice as many that also goes to the weights
    assert found == pytest.approx(2 * 2 * (2 * 2 + 2 * 3) * one, rel=0.03)


@pytest.mark.parametrize("name", SUBJECTS)
def test_calibration_computes_what_the_plain_loop_computes(name: str, tmp_path: Path) -> None:
    asked = settings(tmp_path, "--craft-batch", "6")
    with calibrating.on_threads(1):
        row = calibrating.measure(Cell(calibrating.PART, name, calibrating.PLAIN, "fp32", asked.craft_batch), asked)
    assert row.value is not None
    assert row.value.low > 0
    assert row.figures["cosine"] == pytest.approx(1, abs=1e-6)
    assert row.figures["times_peer"]["n"] == row.value.n >= 5
    assert row.figures["memory_estimate_bytes"] > 0
    if not torch.cuda.is_available():
        assert row.figures["memory_bytes"] is None
        lines = draw([row]).splitlines()
        assert "GiB" not in lines[0]
        assert "no GiB: torch counts" in lines[1]


def test_memory_stands_beside_what_is_expected() -> None:
    cell = Cell(calibrating.PART, "ImageBind thermal", calibrating.PLAIN, "bf16", 64)
    figures = {"memory_bytes": 3 * 2**30, "memory_estimate_bytes": 2 * 2**30, "times_peer": {"median": 1.25}}
    row = Row(cell, "steps/s", Spread.of([10.0]), figures=figures)
    header, drawn = draw([row]).splitlines()
    assert header.split()[-4:] == ["peer", "GiB", "expected", "note"]
    assert drawn.split()[-3:] == ["1.25", "3.00", "2.00"]
    said = goals([row])
    assert "1 of 1 cells" in said[3]
    assert "0 of 1 cells; lowest: ImageBind thermal calibrate bf16 batch 64 1.50" in said[4]


def test_turns_are_steps_and_their_neighbours() -> None:
    calls: list[int] = []
    turns = calibrating.Turns(Clock(torch.device("cpu"), 0.0), lambda: calls.append(len(turns.own)))
    for done in range(4):
        turns("calibrate", done, 3)
    assert calls == [1, 2, 3]
    assert len(turns.own) == len(turns.peer) == 3


def test_verification_is_timed(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "B", Linear.random(image(8)), ("fp32", "fp16"), {}, samples=16, gradient=True)
    cell = verifying.cells(settings(tmp_path))[0]
    row = verifying.verify(cell, bundle, VerifyOptions(engine="fp16", samples=16, reference="onnx"))
    assert row.value is not None
    assert row.value.median > 0
    assert row.figures["samples"] == 16
    assert row.figures["verdict"] in ("pass", "fail", "inconclusive")
    assert "onnxruntime" in row.figures["engine"]
