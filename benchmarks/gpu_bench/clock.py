"""How long a call takes on a device that may run behind the program: drained before and after, or many in a row."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import torch

LEAST, MOST = 5, 2000  # repetitions
WARM_UP = 3
BLOCK = 0.02  # seconds that calls in a row are timed over


@dataclass(frozen=True, slots=True)
class Clock:
    """Repeats a call for `seconds` and at least five times."""

    device: torch.device
    seconds: float
    own_stream: bool = True
    """Whether the call's work is on torch's current stream, where CUDA events see it."""

    @property
    def behind(self) -> bool:
        """Whether a call may return before its work is done, and events time it."""
        return self.own_stream and self.device.type == "cuda"

    def drain(self) -> None:
        """Wait until the device has done everything."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def warm_up(self, call: Callable[[], object]) -> None:
        """Calls before the clock counts: lazy allocations, caches, clock frequency."""
        end = perf_counter() + self.seconds / 4
        for _ in range(WARM_UP):
            call()
            self.drain()
        while perf_counter() < end:
            call()
            self.drain()

    def latency(self, call: Callable[[], object]) -> list[float]:
        """Milliseconds of single calls, each on an idle device: what a robot waits that sends one input at a time."""
        return [1000 * one for one in self._repeat(lambda: self._once(call, 1))]

    def pace(self, call: Callable[[], object], milliseconds: float) -> list[float]:
        """Milliseconds a call of blocks of calls in a row, where one is known to take about `milliseconds`."""
        count = min(1000, max(1, math.ceil(1000 * BLOCK / max(milliseconds, 1e-3))))
        return [1000 * block / count for block in self._repeat(lambda: self._once(call, count))]

    def _repeat(self, measure: Callable[[], float]) -> list[float]:
        found: list[float] = []
        end = perf_counter() + self.seconds
        while len(found) < LEAST or (perf_counter() < end and len(found) < MOST):
            found.append(measure())
        return found

    def _once(self, call: Callable[[], object], count: int) -> float:
        """Seconds of `count` calls in a row from an idle device to an idle device."""
        self.drain()
        if self.behind:
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            first.record()
            for _ in range(count):
                call()
            last.record()
            self.drain()
            return float(first.elapsed_time(last)) / 1000
        start = perf_counter()
        for _ in range(count):
            call()
        self.drain()
        return perf_counter() - start
