"""Limits of time and memory for the first runs of an untrusted graph: loading it, and its first call."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Generic, TypeVar

from advcal_edge.errors import EngineStoppedError
from advcal_edge.limits import FIRST_RUN_BYTES, FIRST_RUN_SECONDS, Limit

LOOK = 0.05  # seconds between two measurements of the memory
GRACE = 5.0  # seconds that a stopped call gets to end
SHARE = 0.75  # of the free memory
PAGE = os.sysconf("SC_PAGE_SIZE")

T = TypeVar("T")


def run_bounded(work: Callable[[], T], stop: Callable[[], None], where: str) -> T:
    """Result of `work`; `stop` is called if it takes too long or too much memory.

    It runs in its own thread. If it does not stop within `GRACE` the thread is abandoned, since a single operator of
    ONNX Runtime cannot be interrupted. The thread ends with the process.

    Raises:
        EngineStoppedError: it exceeded the limits; `where` begins the message.
        Exception: any exception of `work`.
    """
    task = Task(work)
    before, most = resident_bytes(), min(FIRST_RUN_BYTES.value, int(SHARE * free_bytes()))
    seconds, started = FIRST_RUN_SECONDS.value, time.monotonic()
    Thread(target=task.run, name="first run", daemon=True).start()
    try:
        while not task.done.wait(LOOK):
            taken = resident_bytes() - before
            if taken > most:
                raise too_much(where, f"takes {taken / 2**30:.1f} GiB of memory", most / 2**30, "GiB", FIRST_RUN_BYTES)
            if time.monotonic() - started > seconds:
                raise too_much(where, f"does not come to an end in {seconds} s", seconds, "s", FIRST_RUN_SECONDS)
    except BaseException:  # including Ctrl-C
        stop()
        task.done.wait(GRACE)
        raise
    return task.result()


class Task(Generic[T]):
    """A call whose result another thread waits for."""

    def __init__(self, work: Callable[[], T]) -> None:
        """Prepare the call without running it."""
        self.done = Event()
        self._work = work
        self._found: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        """Run the call, and store its result or exception."""
        try:
            self._found.append(self._work())
        except BaseException as error:
            self._error = error
        finally:
            self.done.set()

    def result(self) -> T:
        """The result of the call.

        Raises:
            Exception: the exception of the call.
        """
        if self._error is not None:
            raise self._error
        return self._found[0]


def too_much(where: str, found: str, most: float, unit: str, limit: Limit) -> EngineStoppedError:
    """The error for a first run that was stopped."""
    return EngineStoppedError(
        f"{where} {found} and was stopped; expected at most {most:.4g} {unit}",
        hint=f"if you trust it, give it more: `{limit.variable}={2 * limit.value}`",
    )


def resident_bytes() -> int:
    """Memory used by this process; 0 if the system does not report it."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE
    except (OSError, ValueError, IndexError):
        return 0


def free_bytes() -> int:
    """Memory available on this machine; infinite if the system does not report it."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 2**62
