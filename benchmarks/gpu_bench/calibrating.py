"""Steps of calibration in a second: the training loop of `calibrate` itself, beside a plain loop that does the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import count
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from advcal_edge.calibrate.compute import computing
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.calibrate.memory import GIB
from advcal_edge.calibrate.presets import configure
from advcal_edge.errors import EngineError
from gpu_bench.calibration import Calibration
from gpu_bench.clock import LEAST, MOST, Clock
from gpu_bench.crafting import centers
from gpu_bench.device import find_device, set_tf32
from gpu_bench.plain_loop import PlainLoop
from gpu_bench.rows import Cell, Row, Spread
from gpu_bench.settings import Settings
from gpu_bench.subjects import SUBJECTS, Subject, adapted
from gpu_bench.torch_backends import rate
from gpu_bench.trunks import cosine

PART = "calibrating"
PLAIN, COMPILED = "calibrate", "calibrate, compiled"
WARM_UP = 3  # steps
BATCHES = 8  # of different samples
META = torch.device("meta")


def cells(settings: Settings) -> list[Cell]:
    """Each encoder in each type; at last compiled, which takes longest to begin."""
    ways = [(name, PLAIN, precision) for name in SUBJECTS for precision in ("bf16", "fp32")]
    ways += [(name, COMPILED, "bf16") for name in SUBJECTS]
    chosen = [way for way in ways if way[2] in settings.precisions]
    return [Cell(PART, name, backend, precision, settings.craft_batch) for name, backend, precision in chosen]


def measure(cell: Cell, settings: Settings) -> Row:
    """Steps of both in turn; before that the memory of each, while the other is idle."""
    set_tf32(False)
    device, threads = find_device(), torch.get_num_threads()
    if cell.precision == "bf16" and device.type != "cuda":
        raise EngineError("`calibrate` computes in bfloat16 on CUDA devices alone")
    who = SUBJECTS[cell.modality](settings.encoder)
    config = configured(cell, who)
    clock, meter, started = Clock(device, settings.seconds, own_stream=False), Meter(device), perf_counter()
    if config.train.compile:
        torch._dynamo.reset()  # or the limit of compilations of one function would end the series
    with computing(device, cores=1 if config.train.compile else None) as compute:
        ours = Calibration(who, config, compute, settings.workshop / PART)
        slope = ours.gradient()
        ours.run(1)
        prepared = perf_counter() - started
        meter.restart()
        warm = Turns(clock)
        ours.run(WARM_UP, warm)
        memory = meter.peak()
        peer = find_peer(ours, threads)
        turns = Turns(clock, peer.step)
        ours.run(min(MOST, max(LEAST, round(settings.seconds / min(warm.own)))), turns)
    figures: dict[str, Any] = {
        "samples_per_second": rate(cell.batch, [1000 * one for one in turns.own]),
        "operations": operations(cell.modality, settings.encoder, cell.batch),
        "parts": ours.parts,
        "device": device.type,
        "prepare_seconds": prepared,
        "memory_bytes": memory,
        "memory_estimate_bytes": ours.estimate(),
        "memory_reason": None if memory is not None else "torch counts the memory of CUDA devices alone",
        "peer_memory_bytes": peer.memory,
        "note": said(peer),
    }
    if peer.slope is not None:
        figures["cosine"] = cosine(slope[None], peer.slope[None])
    if turns.peer:
        figures["peer_steps_per_second"] = asdict(Spread.of([1 / one for one in turns.peer]))
        figures["times_peer"] = asdict(Spread.of([b / a for a, b in zip(turns.own, turns.peer, strict=True)]))
    return Row(cell, "steps/s", Spread.of([1 / one for one in turns.own]), figures=figures)


def configured(cell: Cell, who: Subject) -> CalibrateConfig:
    """The defaults of `calibrate`, in the type and the way of a cell."""
    train = {
        "batch": cell.batch,
        "samples": BATCHES * cell.batch,
        "autocast": cell.precision == "bf16",
        "compile": cell.backend == COMPILED,
    }
    return configure(modality=who.modality, train=train)


@dataclass(frozen=True, slots=True, eq=False)
class Peer:
    """The plain loop, warmed up; nothing of it where it does not fit on the device."""

    step: Callable[[], None] | None = None
    slope: Tensor | None = None
    """Its float32 gradient of the first batch."""
    memory: int | None = None


def find_peer(ours: Calibration, threads: int) -> Peer:
    """A plain loop with a model like that of `ours` before its first step, on the same batches."""
    meter, numbers = Meter(ours.compute.device), count()
    try:
        model = adapted(ours.who, ours.config, ours.compute.device)
        loop = PlainLoop(model, ours.centers, ours.threat, ours.config)
        x, y, anchor = ours.batch(0)
        with on_threads(threads):
            slope = loop.gradient(x.flip(-1), x, y, anchor)
        loop.autocast = ours.config.train.autocast

        def step() -> None:
            with on_threads(threads):
                loop.step(*ours.batch(next(numbers)))

        step()
        meter.restart()
        for _ in range(WARM_UP):
            step()
    except torch.OutOfMemoryError:  # it has no parts, and may not fit where a calibration does
        return Peer()
    return Peer(step, slope, meter.peak())


class Turns:
    """Progress of `train`, which reports the start of each step: times the step before it, then one of the peer."""

    def __init__(self, clock: Clock, step: Callable[[], None] | None = None) -> None:
        self.clock, self.step = clock, step
        self.own: list[float] = []
        self.peer: list[float] = []
        self.since: float | None = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        before, now = self.since, self._now()
        if before is not None:
            self.own.append(now - before)
            if self.step is not None:
                self.step()
                self.peer.append(self._now() - now)
        self.since = self._now()

    def _now(self) -> float:
        self.clock.drain()
        return perf_counter()


class Meter:
    """The most memory on a CUDA device beyond what lay there at first."""

    def __init__(self, device: torch.device) -> None:
        self.counts, self.device = device.type == "cuda", device
        if self.counts:
            torch.cuda.init()  # type: ignore[no-untyped-call]  # before it, there are no statistics to restart
        self.held = torch.cuda.memory_allocated(device) if self.counts else 0
        self.restart()

    def restart(self) -> None:
        """Forget what was most until now."""
        if self.counts:
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak(self) -> int | None:
        """Bytes; None on a processor."""
        return torch.cuda.max_memory_allocated(self.device) - self.held if self.counts else None


@contextmanager
def on_threads(threads: int) -> Iterator[None]:
    """Let this thread compute on so many: `computing` leaves it one, and has others for its pieces."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@lru_cache
def operations(name: str, encoder: str, batch: int) -> int:
    """Of the products that one step asks for: those of the plain loop, counted on the meta device."""
    who = SUBJECTS[name](encoder)
    config = configured(Cell(PART, name, PLAIN, "fp32", batch), who)
    loop = PlainLoop(adapted(who, config, META), centers(who.dim), config.threat_model(who.spec), config)
    return count_step(loop, torch.empty(batch, *who.spec.shape, device=META), who.dim)


def count_step(loop: PlainLoop, x: Tensor, dim: int) -> int:
    """Operations of one step on x (n, ...); a multiplication and an addition are two."""
    y, anchor = torch.zeros(len(x), dtype=torch.long, device=x.device), torch.empty(len(x), dim, device=x.device)
    with FlopCounterMode(display=False) as counter:
        loop.loss(loop.craft(x, y), x, y, anchor).backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


def share_of_peak(rate: float, operations: int, peak: float) -> float:
    """Share of `peak` TFLOP/s that `rate` steps a second of so many operations make use of."""
    return rate * operations / (peak * 1e12)


def said(peer: Peer) -> str:
    """What a row says of the plain loop and of memory."""
    if peer.step is None:
        return "the plain loop does not fit"
    if peer.memory is None:
        return "no GiB: torch counts the memory of CUDA devices alone"
    return f"plain loop: {peer.memory / GIB:.1f} GiB"
