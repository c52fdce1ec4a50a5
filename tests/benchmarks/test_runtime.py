"""`benchmarks/runtime.py` and its parts: what is paired, what is judged, and that everything runs for real."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gpu_bench.rows import Spread
from runtime_bench import bundles, inference, scaling, starting
from runtime_bench.pairs import median_ratio, tail_ratio, time_in_turn
from runtime_bench.rows import Goal, Row, draw
from runtime_bench.scaling import Usage
from tiny import Linear, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.runtime import Embedder
from advcal_edge.spec import image, imu

PROGRAM = Path(__file__).parent.parent.parent / "benchmarks" / "runtime.py"


@pytest.mark.parametrize(
    ("goal", "text", "inside", "outside"),
    [
        (Goal(high=1.03), "<= 1.03", 1.03, 1.031),
        (Goal(low=1.2), ">= 1.2", 1.2, 1.19),
        (Goal(0.95, 1.05), "0.95 to 1.05", 1.0, 0.94),
    ],
)
def test_goals(goal: Goal, text: str, inside: float, outside: float) -> None:
    rows = [Row("a", "b", "x", Spread.of([figure]), goal) for figure in (inside, outside, float("nan"))]
    assert [row.met for row in rows] == [True, False, False]
    assert [json.loads(json.dumps(row.to_json()))["goal"] for row in rows] == [text] * 3
    drawn = draw(rows)
    assert (drawn.count("yes"), drawn.count("NO")) == (1, 2)
    assert Row("a", "b", "x", Spread.of([1.0])).met is None


def test_calls_are_paired_and_begin_in_turn() -> None:
    order: list[str] = []
    pairs = time_in_turn(lambda: order.append("a"), lambda: order.append("b"), 0.0)
    assert pairs.shape == (20, 2)
    assert (pairs > 0).all()
    assert "".join(order[-40:]) == "abba" * 10


def test_a_ratio_is_that_of_neighbours() -> None:
    second = np.random.default_rng(0).lognormal(size=200)  # times that vary far more than the ratio
    found = median_ratio(np.stack([1.5 * second, second], axis=1))
    assert found.median == pytest.approx(1.5)
    assert found.low == pytest.approx(found.high)
    tail = tail_ratio(np.stack([1.5 * second, second], axis=1))
    assert tail.low == pytest.approx(tail.median) == pytest.approx(1.5)


def test_processes_are_measured() -> None:
    found = starting.in_turn({"python": ["-c", "pass"], "busy": ["-c", "sum(range(10**7))"]}, repeats=2)
    assert [len(times) for times in found.values()] == [2, 2]
    row = starting.row("busy", found, "busy", "python", "python", Goal(high=1e-9))
    assert row.met is False
    assert row.figures["ratio"] > 1
    with pytest.raises(subprocess.CalledProcessError):
        starting.cpu_seconds(["-c", "raise SystemExit(1)"])


def usages(seconds: tuple[float, ...], megabytes: tuple[float, ...]) -> list[list[Usage]]:
    sizes = (1000, 3000, 10000)
    return [[Usage(*one)] for one in zip(sizes, seconds, megabytes, strict=True)]


def test_what_grows_with_the_samples_is_linear_and_what_does_not_is_flat() -> None:
    rows = scaling.judge(usages((20 + 10, 20 + 30, 20 + 100), (200, 201, 202)))
    assert [row.met for row in rows] == [None, True, True, True]
    rows = scaling.judge(usages((1, 9, 100), (200, 250, 400)))
    assert [row.met for row in rows] == [None, False, False, False]


def test_verify_is_measured(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "B", Linear.random(imu(8, 50.0)), ("fp32", "int8"), {}, samples=8, gradient=True)
    bundles.enlarge(bundle.path, 20)
    probe = Bundle.open(bundle.path).probe()
    np.testing.assert_array_equal(probe.x[8:16], probe.x[:8])
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--verify", str(bundle.path), "20"], capture_output=True, text=True, check=True
    )
    usage = Usage(**json.loads(done.stdout))
    assert usage.samples == 20
    assert usage.seconds > 0
    assert usage.megabytes > 10


def test_a_heavy_engine_and_what_checks_cost(tmp_path: Path) -> None:
    source = write_bundle(tmp_path / "B", Linear.random(image(8)), ("fp32",), {}, samples=8)
    heavy = bundles.make_heavy(source.path, tmp_path / "H", megabytes=2)
    assert (heavy / "onnx/forward.fp32.onnx").stat().st_size == pytest.approx(2e6, rel=0.01)
    x = source.probe().x
    np.testing.assert_allclose(np.linalg.norm(Embedder.load(heavy)(x), axis=1), 1, atol=1e-5)
    rows = inference.overhead(heavy, x, seconds=0.0)
    assert [row.what for row in rows] == ["Embedder, batch 8, p50", "Embedder, batch 8, p99"]
    assert rows[0].goal == Goal(high=1.01)
    assert all(row.value.median > 0 and row.value.n == 20 for row in rows)


def test_the_program_writes_what_it_found(tmp_path: Path) -> None:
    source = write_bundle(tmp_path / "B", Linear.random(image(8)), ("fp32",), {}, samples=8)
    out = tmp_path / "runtime.json"
    asked = ["--bundle", str(source.path), "--repeats", "1", "--megabytes", "0", "--skip", "inference,scaling"]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *asked, "--out", str(out), "--json"], capture_output=True, text=True, check=True
    )
    result = json.loads(out.read_text(encoding="utf-8"))
    assert json.loads(done.stdout) == result
    assert [row["what"] for row in result["rows"]] == [
        "import advcal_edge.runtime",
        "load a bundle, first embedding",
        "advcal-edge --help",
    ]
    assert all(row["value"]["median"] > 0 and row["met"] in (True, False) for row in result["rows"])
    assert str(tmp_path) not in out.read_text(encoding="utf-8")


@pytest.mark.parametrize("asked", [["--skip", "nothing"], ["--sizes", "1,2"], ["--batch", "0"]])
def test_refuses_what_it_does_not_know(asked: list[str]) -> None:
    done = subprocess.run([sys.executable, str(PROGRAM), *asked], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert asked[0] in done.stderr
