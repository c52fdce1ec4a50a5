"""Where a calibration computes: the device, the processes that share the work, and the threads of this one.

Work is cut into pieces of a size that does not depend on who computes them, and what comes out is put together in the
order of the pieces. On the CPU every piece is computed by a single thread, since kernels add in another order on two.
So a calibration gives the same bits on any number of processes and cores of the same kind of processor.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch

from advcal_edge.calibrate.processes import ALONE, Processes
from advcal_edge.errors import ConfigError

In = TypeVar("In")
Out = TypeVar("Out")

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, eq=False)
class Compute:
    """Computes pieces of work on one device, by this process's threads and, piece by piece, by other processes."""

    device: torch.device = CPU
    processes: Processes = ALONE
    threads: ThreadPoolExecutor | None = None
    cores: int = 1
    """Number of pieces that may be under way in threads."""

    def map(self, function: Callable[[In], Out], pieces: Iterable[In]) -> Iterator[Out]:
        """`function` of each piece, in order; pieces are asked for as they are needed.

        No more threads are used than there are idle cores. Threads of one interpreter hand its lock to each other all
        the time, and where others want the cores too, each of them waits for its turn at every handover.
        """
        ahead = min(self.cores, idle_cores())
        if self.threads is None or ahead == 1:
            return map(function, pieces)
        return ordered(self.threads, function, pieces, ahead)


@contextmanager
def computing(device: torch.device, processes: Processes = ALONE, cores: int | None = None) -> Iterator[Compute]:
    """Compute in pieces until the block ends, in which torch uses one thread for each; by default on all its cores."""
    if device.type != "cpu":
        yield Compute(device, processes)
        return
    before = torch.get_num_threads()
    cores = before if cores is None else cores
    torch.set_num_threads(1)
    try:
        if cores == 1:
            yield Compute(device, processes)
            return
        with ThreadPoolExecutor(cores, "piece", torch.set_num_threads, (1,)) as threads:
            yield Compute(device, processes, threads, cores)
    finally:
        torch.set_num_threads(before)


def idle_cores(loadavg: Path = Path("/proc/loadavg")) -> int:
    """Cores of this machine that no other thread wants at this moment, at least one; all where that is not known."""
    cores = os.cpu_count() or 1
    try:
        running = int(loadavg.read_text(encoding="ascii").split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return cores
    return max(1, cores - (running - 1))  # one of them asks


def ordered(
    threads: ThreadPoolExecutor, function: Callable[[In], Out], pieces: Iterable[In], ahead: int
) -> Iterator[Out]:
    """`function` of each piece by threads, in order, with at most `ahead` under way or waiting to be taken."""
    pieces = iter(pieces)
    waiting: deque[Future[Out]] = deque(threads.submit(function, piece) for piece in islice(pieces, ahead))
    try:
        while waiting:
            found = waiting.popleft().result()
            waiting.extend(threads.submit(function, piece) for piece in islice(pieces, 1))
            yield found
    finally:
        for future in waiting:
            future.cancel()


def choose_device(name: str, processes: Processes = ALONE) -> torch.device:
    """The device `auto`, `cpu`, `cuda` or `cuda:1`; with several processes on a machine, `cuda` is one for each.

    On CUDA, products and convolutions in float32 are then computed as such, not in TF32.

    Raises:
        ConfigError: another name, or a device that is not there.
    """
    match = re.fullmatch(r"auto|cpu|cuda(?::([0-9]{1,3}))?", name)
    if match is None:
        raise ConfigError(f"`--device {name}` is no device; expected `auto`, `cpu`, `cuda` or `cuda:1`")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not count):
        return CPU
    if not count:
        build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU alone"
        raise ConfigError(
            f"`--device {name}` needs a GPU that torch can use; found torch {torch.__version__}, built for {build}",
            hint="`nvidia-smi` shows GPU and driver; https://pytorch.org/get-started has builds for CUDA;"
            " or leave out `--device`",
        )
    index = processes.local_rank if match[1] is None else int(match[1])
    if match[1] is not None and processes.count > 1:
        raise ConfigError(
            f"`--device {name}` puts all {processes.count} processes on one GPU; expected one for each",
            hint="`--device cuda`; CUDA_VISIBLE_DEVICES chooses among GPUs",
        )
    if index >= count:
        raise ConfigError(
            f"`--device {name}` asks for GPU {index}; found {count}, counted from 0",
            hint="start at most as many processes on a machine as it has GPUs"
            if match[1] is None
            else "`nvidia-smi` lists them",
        )
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    device = torch.device("cuda", index)
    torch.cuda.set_device(device)
    return device


def device_name(device: torch.device) -> str:
    """The name of a device for reports."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
