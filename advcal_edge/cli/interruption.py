"""Requests to stop: Ctrl-C, `kill`, a supervisor, a closed terminal. All are handled in the same way."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REQUESTS = (signal.SIGTERM, signal.SIGHUP)  # SIGINT raises KeyboardInterrupt already
REPEATED = 2.0  # seconds; `timeout` signals the process and its group, and cleanup must not be interrupted


class Interruption:
    """Records which signal asked this process to stop, if any."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._at = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Stop as on Ctrl-C, so that the same cleanup runs."""
        now = time.monotonic()
        repeated = self.signal is not None and now - self._at < REPEATED
        self.signal, self._at = signal.Signals(number), now
        if not repeated:
            raise KeyboardInterrupt

    @property
    def code(self) -> int:
        """Exit code as in shells: 128 plus the number of the signal; 130 on Ctrl-C."""
        return 128 + (self.signal or signal.SIGINT)

    def __str__(self) -> str:
        return "interrupted" if self.signal is None else f"ended by {self.signal.name}"


@contextmanager
def interruption() -> Iterator[Interruption]:
    """Make SIGTERM and SIGHUP raise KeyboardInterrupt; a signal that is ignored, as under `nohup`, stays ignored."""
    handle = Interruption()
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in REQUESTS}
    for number, handler in before.items():
        if handler == signal.SIG_DFL:
            signal.signal(number, handle)
    try:
        yield handle
    finally:
        for number, handler in before.items():
            if handler == signal.SIG_DFL:
                signal.signal(number, handler)
