"""A sign of life while a command works: one call of an engine may take minutes, and nothing reports from inside it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from advcal_edge.cli.console import Console

EVERY = 0.5  # seconds


@contextmanager
def heartbeat(console: Console) -> Iterator[None]:
    """Have the console show a line whenever it was silent for a while, until the block ends."""
    started, ended = time.monotonic(), Event()

    def beat() -> None:
        while not ended.wait(EVERY):
            console.alive(started)

    thread = Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
