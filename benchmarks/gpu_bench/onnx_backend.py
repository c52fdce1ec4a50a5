"""The exported graphs in ONNX Runtime, on the CUDA device where it has one, input and output bound to the device."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import torch

from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends.onnx import CPU, OnnxBackend, import_onnxruntime
from advcal_edge.runtime.model import Runner
from gpu_bench.clock import Clock
from gpu_bench.device import find_device
from gpu_bench.rows import Cell, Row, Spread
from gpu_bench.settings import Settings
from gpu_bench.torch_backends import rate
from gpu_bench.trunks import cosine, inputs, reference, spec, typed

EXPORT, PART, BACKEND = "export", "backend", "ONNX Runtime"
CUDA = ("CUDAExecutionProvider",)


def cells(settings: Settings) -> list[Cell]:
    """Every graph, then every session."""
    graphs = [Cell(EXPORT, m, "graph", p, 0) for m in settings.modalities for p in settings.precisions]
    sizes = settings.batches
    return graphs + [Cell(PART, g.modality, BACKEND, g.precision, size) for g in graphs for size in sizes]


def measure(cell: Cell, settings: Settings) -> Row:
    """Write a graph, or time one."""
    if cell.part == EXPORT:
        return export(cell, settings)
    ort = import_onnxruntime()
    device = find_device()
    preload = getattr(ort, "preload_dlls", None)
    if device.type == "cuda" and preload is not None:
        preload()  # CUDA's libraries as pip installs them, which the loader does not find
    cuda = device.type == "cuda" and CUDA[0] in ort.get_available_providers()
    why = "this machine" if device.type == "cpu" else "this onnxruntime"
    note = "" if cuda else f"CPU provider: {why} has no CUDA"
    started = perf_counter()
    graph = find_graph(settings, cell.modality, cell.precision)
    backend = OnnxBackend(graph, providers=CUDA if cuda else (CPU,))
    runner = Runner(backend, spec(cell.modality))
    x = inputs(cell.modality, cell.batch).cpu().numpy()
    place = "cuda" if cuda else "cpu"
    binding = backend.session.io_binding()
    binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(x, place, 0))
    binding.bind_output("z", place, 0)

    def call() -> None:
        backend.session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    call()
    prepared = perf_counter() - started
    z = torch.from_numpy(binding.copy_outputs_to_cpu()[0])
    clock = Clock(device if cuda else torch.device("cpu"), settings.seconds / 2, own_stream=False)
    clock.warm_up(call)
    latencies = clock.latency(call)
    figures = {
        "samples_per_second": rate(cell.batch, latencies),
        "cosine": cosine(z, reference(settings, cell.modality, cell.batch)),
        "device": place,
        "prepare_seconds": prepared,
        "fingerprint": runner.fingerprint,
        "note": note,
    }
    return Row(cell, "ms", Spread.of(latencies), figures=figures)


def export(cell: Cell, settings: Settings) -> Row:
    """Write one graph into the workshop, and say how long it took."""
    from advcal_edge.export.fp16 import convert_cast

    path = graph_path(settings, cell.modality, cell.precision)
    path.parent.mkdir(exist_ok=True)
    started = perf_counter()
    if cell.precision == "fp32":
        trace(cell.modality, settings.encoder, path)
    else:
        source = graph_path(settings, cell.modality, "fp32")
        if not source.is_file():
            trace(cell.modality, settings.encoder, source)
            started = perf_counter()
        convert_cast(source, path, cell.precision)
    seconds = perf_counter() - started
    return Row(cell, "s", Spread.of([seconds]), figures={"bytes": path.stat().st_size, "device": "cpu"})


def trace(modality: str, encoder: str, path: Path) -> None:
    """Write the float32 graph of a trunk."""
    from advcal_edge.export.forward import export_forward

    export_forward(typed(modality, encoder, "fp32"), spec(modality), path)


def graph_path(settings: Settings, modality: str, precision: str) -> Path:
    """Where a graph lies."""
    return settings.workshop / modality / f"forward.{precision}.onnx"


def find_graph(settings: Settings, modality: str, precision: str) -> Path:
    """The same, of a graph that has been written.

    Raises:
        EngineError: it has not.
    """
    path = graph_path(settings, modality, precision)
    if not path.is_file():
        raise EngineError(f"there is no {precision} graph; see the row of its export")
    return path
