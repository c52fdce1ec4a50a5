"""A request to end, from whoever sends it: Ctrl-C, `kill`, a supervisor, a terminal that goes away. All end alike."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REQUESTS = (signal.SIGTERM, signal.SIGHUP)  # SIGINT raises KeyboardInterrupt already
REPEATED = 2.0  # seconds; `timeout` sends to the process and to its group, and cleaning up must not be cut off


class Interruption:
    """Which signal asked this process to end, if any did."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._at = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """End as on Ctrl-C: what cleans up on that cleans up on this."""
        now = time.monotonic()
        repeated = self.signal is not None and now - self._at < REPEATED
        self.signal, self._at = signal.Signals(number), now
        if not repeated:
            raise KeyboardInterrupt

    @property
    def code(self) -> int:
        """Exit code as shells have it: 128 and the number of the signal; 130 on Ctrl-C."""
        return 128 + (self.signal or signal.SIGINT)

    def __str__(self) -> str:
        return "interrupted" if self.signal is None else f"ended by {self.signal.name}"


@contextmanager
def interruption() -> Iterator[Interruption]:
    """Inside, SIGTERM and SIGHUP raise KeyboardInterrupt; a signal that is ignored, as under `nohup`, stays so."""
    found = Interruption()
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in REQUESTS}
    for number, handler in before.items():
        if handler == signal.SIG_DFL:
            signal.signal(number, found)
    try:
        yield found
    finally:
        for number, handler in before.items():
            if handler == signal.SIG_DFL:
                signal.signal(number, handler)
