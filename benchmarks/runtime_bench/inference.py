"""What a call costs: the embedder against the bare session, and the exported graphs against torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from advcal_edge.bundle import Bundle
from advcal_edge.calibrate.deploy import module_from_bundle
from advcal_edge.precision import BACKWARD_GRAPH, PRECISIONS
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.backends.onnx import OnnxBackend
from advcal_edge.runtime.engine import read_listed
from advcal_edge.runtime.model import Runner, Vjp
from runtime_bench.pairs import Pairs, median_ratio, tail_ratio, time_in_turn
from runtime_bench.rows import Goal, Row

OVERHEAD = {1: Goal(high=1.03), 8: Goal(high=1.01)}
FASTER = {"fp32": Goal(low=1.2), "int8": Goal(low=1.8)}
VJP = Goal(low=1.3)
THREADS = 1  # the one whose CPU time is taken


def measure(path: Path, batches: tuple[int, ...], seconds: float) -> list[Row]:
    """Every row of one bundle; `seconds` of measuring each."""
    bundle = Bundle.open(path)
    torch.set_num_threads(THREADS)
    rows = []
    for batch in batches:
        x = np.take(bundle.probe().x, np.arange(batch) % len(bundle.probe()), axis=0)
        rows += overhead(path, x, seconds)
        rows += forward(bundle, x, seconds)
        rows.append(backward(bundle, x, seconds))
    return rows


def overhead(path: Path, x: np.ndarray, seconds: float) -> list[Row]:
    """The embedder, all of its checks included, and the session that it runs."""
    embedder = Embedder.load(path, "fp32", threads=THREADS)
    pairs = time_in_turn(lambda: embedder(x), lambda: embedder.runner.bare(x), seconds)
    name, peer, batch = f"Embedder, batch {len(x)}", "bare session", len(x)
    return [
        Row(f"{name}, p50", peer, "x", median_ratio(pairs), OVERHEAD.get(batch), figures=latencies(pairs, 50)),
        Row(f"{name}, p99", peer, "x", tail_ratio(pairs), figures=latencies(pairs, 99)),
    ]


def forward(bundle: Bundle, x: np.ndarray, seconds: float) -> list[Row]:
    """How many times as fast as the torch module each forward graph is."""
    module, tensor, rows = module_from_bundle(bundle), torch.from_numpy(x), []

    def eager() -> object:
        with torch.inference_mode():
            return module(tensor).numpy()

    for precision, goal in FASTER.items():
        runner = Runner(
            OnnxBackend(read_listed(bundle, PRECISIONS[precision].graph), threads=THREADS), bundle.modality.input
        )
        pairs = time_in_turn(eager, lambda runner=runner: runner(x), seconds)  # type: ignore[misc]
        what = f"forward {precision}, batch {len(x)}, speed"
        rows.append(Row(what, "torch eager", "x", median_ratio(pairs), goal, figures=latencies(pairs, 50)))
    return rows


def backward(bundle: Bundle, x: np.ndarray, seconds: float) -> Row:
    """How many times as fast as torch autograd the backward graph is, embedding and J^T v both."""
    module, tensor = module_from_bundle(bundle), torch.from_numpy(x)
    vjp = Vjp(
        OnnxBackend(read_listed(bundle, BACKWARD_GRAPH), threads=THREADS, optimization="basic"), bundle.modality.input
    )
    v = np.random.default_rng(0).standard_normal((len(x), vjp.dim)).astype(np.float32)
    slope = torch.from_numpy(v)

    def autograd() -> object:
        leaf = tensor.clone().requires_grad_()
        return torch.autograd.grad(module(leaf), leaf, slope)[0].numpy()

    pairs = time_in_turn(autograd, lambda: vjp.pull(x, v), seconds)
    what = f"backward fp32, batch {len(x)}, speed"
    return Row(what, "torch autograd", "x", median_ratio(pairs), VJP, figures=latencies(pairs, 50))


def latencies(pairs: Pairs, percentile: float) -> dict[str, list[float]]:
    """CPU milliseconds of both, the subject last where the row is a speed."""
    return {"cpu_milliseconds": [float(ms) for ms in np.percentile(pairs, percentile, axis=0)]}
