"""Requests to stop: Ctrl-C, `kill`, a supervisor, a closed terminal. All are handled in the same way."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REQUESTS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
"""What asks a process to stop, with what Python does about it unless somebody decided otherwise."""
REPEATED = 2.0  # seconds; `timeout` signals the process and its group, users press twice, and cleanup must go on


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
        return "interrupted" if self.signal in (None, signal.SIGINT) else f"ended by {self.signal.name}"


@contextmanager
def interruption() -> Iterator[Interruption]:
    """Make all of them raise KeyboardInterrupt once; a signal that is ignored, as under `nohup`, stays ignored."""
    handle = Interruption()
    taken = {}
    if threading.current_thread() is threading.main_thread():
        taken = {number: usual for number, usual in REQUESTS.items() if signal.getsignal(number) == usual}
    for number in taken:
        signal.signal(number, handle)
    try:
        yield handle
    finally:
        for number, usual in taken.items():
            signal.signal(number, usual)
