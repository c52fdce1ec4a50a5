"""The forward pass in torch: eager, compiled, and compiled in a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from time import perf_counter

import torch
from torch import Tensor, nn

from advcal_edge.errors import EngineError
from gpu_bench.clock import Clock
from gpu_bench.device import find_device, set_tf32
from gpu_bench.rows import Cell, Row, Spread
from gpu_bench.settings import Settings
from gpu_bench.trunks import cosine, inputs, reference, typed

PART = "backend"
WAYS = EAGER, COMPILED, GRAPHED = "torch eager", "torch.compile", "torch.compile, CUDA graph"


def cells(settings: Settings) -> list[Cell]:
    """All that need no compiler, then each compiled one beside its graph, which shares what was compiled."""
    eager, compiled = [], []
    for modality in settings.modalities:
        for precision in settings.precisions:
            for batch in settings.batches:
                eager.append(Cell(PART, modality, EAGER, precision, batch))
                compiled += [Cell(PART, modality, name, precision, batch) for name in (COMPILED, GRAPHED)]
    return eager + compiled


def measure(cell: Cell, settings: Settings) -> Row:
    """Latency on an idle device; throughput of calls in a row."""
    set_tf32(False)
    device = find_device()
    if cell.backend == GRAPHED and device.type != "cuda":
        raise EngineError("a CUDA graph needs a CUDA device")
    x = inputs(cell.modality, cell.batch)
    expected = reference(settings, cell.modality, cell.batch)
    call: Callable[[Tensor], Tensor]
    started = perf_counter()
    with torch.no_grad():
        if cell.backend == EAGER:
            call = typed(cell.modality, settings.encoder, cell.precision)
        else:
            call = compiled(settings, cell.modality, cell.precision, cell.batch)
        if cell.backend == GRAPHED:
            call = captured(call, x)
        z = call(x).clone()
        clock = Clock(device, settings.seconds / 2)
        clock.drain()
        prepared = perf_counter() - started
        clock.warm_up(lambda: call(x))
        latencies = clock.latency(lambda: call(x))
        paces = clock.pace(lambda: call(x), min(latencies)) if clock.behind else latencies
    figures = {
        "samples_per_second": rate(cell.batch, paces),
        "cosine": cosine(z, expected),
        "device": device.type,
        "prepare_seconds": prepared,
    }
    return Row(cell, "ms", Spread.of(latencies), figures=figures)


@lru_cache(maxsize=1)
def compiled(settings: Settings, modality: str, precision: str, batch: int) -> Callable[[Tensor], Tensor]:
    """A module compiled for one batch size."""
    torch._dynamo.reset()  # or the limit of compilations of one function would end the series
    module: nn.Module = typed(modality, settings.encoder, precision)
    call: Callable[[Tensor], Tensor] = torch.compile(module, dynamic=False)
    call(inputs(modality, batch))
    return call


def captured(call: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[Tensor], Tensor]:
    """A CUDA graph of call(x), which reads the same x again and returns the same tensor at every replay."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call(x)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        z = call(x)

    def replay(_: Tensor) -> Tensor:
        graph.replay()
        return z

    return replay


def rate(batch: int, milliseconds: list[float]) -> dict[str, float]:
    """Samples a second, median and interval."""
    found = Spread.of([1000 * batch / one for one in milliseconds])
    return {"median": found.median, "low": found.low, "high": found.high, "n": found.n}
