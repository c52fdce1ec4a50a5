"""Time and memory for what nobody has run yet: loading a graph, and its first call."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Generic, TypeVar

from advcal_edge.errors import EngineError
from advcal_edge.limits import FIRST_RUN_BYTES, FIRST_RUN_SECONDS, Limit

LOOK = 0.05  # seconds between two looks at the memory
GRACE = 5.0  # seconds in which what was told to stop may do so
SHARE = 0.75  # of the memory that is free
PAGE = os.sysconf("SC_PAGE_SIZE")

T = TypeVar("T")


def run_bounded(work: Callable[[], T], stop: Callable[[], None], where: str) -> T:
    """What `work` returns; told to `stop` where it takes too long or too much memory.

    It runs in a thread of its own. One that does not stop within `GRACE` is left behind: a single operator of ONNX
    Runtime cannot be interrupted. It ends with the process.

    Raises:
        EngineError: it took more than the limits; `where` begins the message.
        Exception: whatever `work` raises.
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
    except BaseException:  # Ctrl-C too
        stop()
        task.done.wait(GRACE)
        raise
    return task.result()


class Task(Generic[T]):
    """A call whose result another thread waits for."""

    def __init__(self, work: Callable[[], T]) -> None:
        """Nothing runs yet."""
        self.done = Event()
        self._work = work
        self._found: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        """Do it, and keep what it returns or raises."""
        try:
            self._found.append(self._work())
        except BaseException as error:
            self._error = error
        finally:
            self.done.set()

    def result(self) -> T:
        """What it returned.

        Raises:
            Exception: what it raised.
        """
        if self._error is not None:
            raise self._error
        return self._found[0]


def too_much(where: str, found: str, most: float, unit: str, limit: Limit) -> EngineError:
    """The error for a first run that was stopped."""
    return EngineError(
        f"{where} {found} and was stopped; expected at most {most:.4g} {unit}",
        hint=f"if you trust it, give it more: `{limit.variable}={2 * limit.value}`",
    )


def resident_bytes() -> int:
    """Memory that this process has in use; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE
    except (OSError, ValueError, IndexError):
        return 0


def free_bytes() -> int:
    """Memory that this machine could still give; without end where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 2**62
