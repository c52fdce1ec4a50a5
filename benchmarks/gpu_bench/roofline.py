"""What the device can do at most, measured in the same run: products of large matrices, and copies in its memory.

The bound of a pass is max(operations / matrix peak, bytes / bandwidth) (Williams et al. 2009, CACM 52:65-76).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from advcal_edge.errors import EngineError
from gpu_bench.clock import Clock
from gpu_bench.device import find_device, set_tf32
from gpu_bench.rows import Cell, Row, Spread
from gpu_bench.settings import Settings
from gpu_bench.trunks import DTYPES, Cost

PART = "roofline"
MATRIX, COPY = "matrix product", "copy in memory"
SIZES = {"cuda": (4096, 8192, 16384), "cpu": (512, 1024)}
COPIED = {"cuda": 1 << 30, "cpu": 1 << 28}
LONGEST = 0.3  # seconds of one product; a slower device is busy with smaller ones already
TINY_SIZES, TINY_COPIED = (256,), 1 << 24


def cells(settings: Settings) -> list[Cell]:
    """A peak for each precision, one for float32 with TF32, and the bandwidth."""
    precisions = [*settings.precisions, "tf32"]
    return [*(Cell(PART, "", MATRIX, name, 0) for name in precisions), Cell(PART, "", COPY, "", 0)]


def measure(cell: Cell, settings: Settings) -> Row:
    """One of them."""
    device = find_device()
    clock = Clock(device, settings.seconds / 2)
    if cell.backend == COPY:
        return copy_in_memory(cell, clock, TINY_COPIED if settings.encoder == "tiny" else COPIED[device.type])
    if cell.precision == "tf32" and device.type != "cuda":
        raise EngineError("TF32 is a mode of CUDA devices")
    set_tf32(cell.precision == "tf32")
    dtype = DTYPES["fp32" if cell.precision == "tf32" else cell.precision]
    sizes = TINY_SIZES if settings.encoder == "tiny" else SIZES[device.type]
    rates: dict[int, Spread] = {}
    for size in sizes:
        rates[size] = matrix_product(clock, size, dtype)
        if 2 * (2 * size) ** 3 / (rates[size].median * 1e12) > LONGEST:
            break
    best = max(rates, key=lambda size: rates[size].median)
    medians = {str(size): rate.median for size, rate in rates.items()}
    return Row(cell, "TFLOP/s", rates[best], figures={"size": best, "medians": medians, "device": device.type})


def matrix_product(clock: Clock, size: int, dtype: torch.dtype) -> Spread:
    """TFLOP/s of products of random square matrices; with zeros a device would draw less power and be faster."""
    a, b = (torch.randn(size, size, device=clock.device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return Spread.of(
        [2 * size**3 / milliseconds / 1e9 for milliseconds in paced(clock, lambda: torch.mm(a, b, out=out))]
    )


def copy_in_memory(cell: Cell, clock: Clock, size: int) -> Row:
    """GB/s, read and written, of copies of `size` bytes."""
    source = torch.randint(0, 255, (size,), dtype=torch.uint8, device=clock.device)
    target = torch.empty_like(source)
    rates = [2 * size / milliseconds / 1e6 for milliseconds in paced(clock, lambda: target.copy_(source))]
    return Row(cell, "GB/s", Spread.of(rates), figures={"bytes": size, "device": clock.device.type})


def paced(clock: Clock, call: Callable[[], object]) -> list[float]:
    """Milliseconds a call, many in a row."""
    clock.warm_up(call)
    return clock.pace(call, min(clock.latency(call)))


def peak_of(precision: str, peaks: Mapping[str, float]) -> float | None:
    """The peak of a type: its own, or float32's where that is higher, since a runtime may compute in more bits."""
    if precision not in peaks:
        return None
    return max(peaks[precision], peaks.get("fp32", 0.0))


def bound(cost: Cost, batch: int, precision: str, peak: float, bandwidth: float) -> float:
    """The least milliseconds that a forward pass can take, at `peak` TFLOP/s and `bandwidth` GB/s."""
    return 1000 * max(batch * cost.forward / (peak * 1e12), cost.least_bytes(batch, precision) / (bandwidth * 1e9))
