"""The exported graphs as plans of TensorRT or TensorRT-RTX, on input that lies on the device already."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from advcal_edge.errors import EngineError
from gpu_bench.clock import Clock
from gpu_bench.device import find_device
from gpu_bench.onnx_backend import find_graph
from gpu_bench.rows import Cell, Row, Spread
from gpu_bench.settings import Settings
from gpu_bench.torch_backends import rate
from gpu_bench.trunks import cosine, inputs, reference, spec

PART = "backend"
TITLES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
GRAPHED = ", CUDA graph"


def cells(settings: Settings, product: str) -> list[Cell]:
    """Every plan with each batch size, called plainly and from a CUDA graph."""
    return [
        Cell(PART, modality, TITLES[product] + way, precision, batch)
        for modality in settings.modalities
        for precision in settings.precisions
        for batch in settings.batches
        for way in ("", GRAPHED)
    ]


def measure(cell: Cell, settings: Settings, product: str) -> Row:
    """Latency of a call that returns when its embeddings are on the host."""
    from advcal_edge.runtime.backends.trt_api import find_product

    find_product(product)
    graph = find_graph(settings, cell.modality, cell.precision)
    smallest, largest = min(settings.batches), max(settings.batches)
    path, built = build(product, graph, (smallest, smallest, largest))
    device = find_device()
    if device.type != "cuda":
        raise EngineError(f"{TITLES[product]} builds this plan, in {built:.0f} s, and needs a CUDA device to run it")
    from advcal_edge.runtime.backends.tensorrt import TensorRTBackend
    from advcal_edge.runtime.model import Runner

    started = perf_counter()
    graphed = cell.backend.endswith(GRAPHED)  # it is replayed on the plan's own buffer, into which x is copied there
    runner = Runner(TensorRTBackend(path, cuda_graph=graphed, reuse=True), spec(cell.modality))
    x: Any = inputs(cell.modality, cell.batch)
    z = to_cpu(runner(x))
    prepared = perf_counter() - started
    clock = Clock(device, settings.seconds / 2, own_stream=False)
    clock.warm_up(lambda: runner(x))
    latencies = clock.latency(lambda: runner(x))
    figures = {
        "samples_per_second": rate(cell.batch, latencies),
        "cosine": cosine(z, reference(settings, cell.modality, cell.batch)),
        "device": device.type,
        "prepare_seconds": prepared,
        "build_seconds": built,
        "tuned_to_batch": smallest,
        "fingerprint": runner.fingerprint,
        "note": "",
    }
    return Row(cell, "ms", Spread.of(latencies), figures=figures)


def build(product: str, graph: Path, batch: tuple[int, int, int]) -> tuple[Path, float]:
    """A plan for batches from the smallest to the largest, tuned to the second, and the seconds it took."""
    outcome = try_build(product, graph, batch)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@lru_cache
def try_build(product: str, graph: Path, batch: tuple[int, int, int]) -> tuple[Path, float] | Exception:
    """The same, with a failure remembered: the graph would fail again for the same reason, and take as long."""
    from advcal_edge.export.tensorrt.build import BuildOptions, build_plan
    from advcal_edge.runtime.backends.trt_api import find_product

    target = graph.with_suffix(f".{product}.plan")
    started = perf_counter()
    try:
        build_plan(find_product(product), graph, target, BuildOptions(batch=batch))
    except Exception as error:
        return error
    return target, perf_counter() - started


def to_cpu(z: Any) -> torch.Tensor:
    """Embeddings of whatever array library, as a tensor on the CPU."""
    return torch.as_tensor(z).detach().float().cpu().clone()
