"""Output of the commands: results on stdout, messages on stderr, readable without colour.

All text is sanitised here: lines are made printable, and blocks keep newlines but no other control characters. Callers
that build a block from untrusted strings put each on one line, as `report.table` does with its cells.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Mapping
from threading import RLock
from typing import Any

from advcal_edge.cli.streams import terminal
from advcal_edge.errors import AdvcalError
from advcal_edge.lock import listen
from advcal_edge.report.table import printable

SILENCE = 9.0
"""Seconds after which `alive` shows a line where there is no terminal."""


class Console:
    """Writes results to stdout and everything else to stderr; another thread may call `alive` meanwhile."""

    def __init__(self, *, json_output: bool = False, last_word: bool = True) -> None:
        self.json_output = json_output
        self._last_word = last_word
        self._live = sys.stderr.isatty()
        self._stage = ""
        self._started = 0.0
        self._shown = -1
        self._count = (0, 0)
        self._note = ""
        self._last = time.monotonic()
        self._lock = RLock()
        listen(self.say)

    def step(self, name: str) -> Console:
        """A console for one step of a longer command, with a heading; the longer command prints the final result."""
        self._end_line()
        sys.stderr.write("\n")
        self.say(name)
        return Console(json_output=self.json_output, last_word=False)

    def result(self, text: str) -> None:
        """Print one block of the result as text; nothing with `--json`."""
        if not self.json_output:
            with self._lock:
                self._end_line()
                sys.stdout.write("\n".join(map(printable, text.split("\n"))) + "\n")
                sys.stdout.flush()

    def document(self, data: Mapping[str, Any]) -> None:
        """Print the whole result as one JSON document, only with `--json`."""
        if self.json_output and self._last_word:
            with self._lock:
                self._end_line()
                sys.stdout.write(json.dumps(data, indent=2, allow_nan=False) + "\n")

    def record(self, data: Mapping[str, Any]) -> None:
        """Print one JSON document on a line of its own, at once: one result of many."""
        with self._lock:
            self._end_line()
            sys.stdout.write(json.dumps(data, allow_nan=False) + "\n")
            sys.stdout.flush()

    def say(self, text: str) -> None:
        """Print one line: what runs, on what, with which budget; warnings; the verdict line."""
        with self._lock:
            self._end_line()
            self._write(printable(text) + "\n")

    def next(self, command: str) -> None:
        """Print the command to run next."""
        if self._last_word:
            self.say(f"next: {command}")

    def progress(self, stage: str, done: int, total: int) -> None:
        """Show one live line on a terminal, else one line per 10 %, with the last `note`."""
        with self._lock:
            if stage != self._stage:
                self._end_line()
                self._stage, self._started, self._shown = stage, time.monotonic(), -1
            percent = 100 * done // max(total, 1)
            self._count = done, total
            step = percent if self._live else percent - percent % 10
            if step != self._shown:
                self._shown = step
                self._show()
            if self._live and done >= total:
                self._write("\n")
                self._stage = ""

    def note(self, text: str) -> None:
        """What the lines of progress say from now on about what was found so far."""
        with self._lock:
            self._note = text

    def alive(self, since: float) -> None:
        """Show that work that began at the monotonic time `since` goes on, if no line was shown for a while."""
        with self._lock:
            now = time.monotonic()
            if now - self._last < (1.0 if self._live else SILENCE):
                return
            if self._stage:
                self._show()
            elif not self._live:
                self._write(f"at work  {now - since:.0f} s\n")

    def _show(self) -> None:
        done, total = self._count
        elapsed = time.monotonic() - self._started
        text = f"{self._stage}  {done}/{total}  {100 * done // max(total, 1)} %  {elapsed:.0f} s"
        text = printable(f"{text}  {self._note}" if self._note else text)
        if self._live:
            terminal(sys.stderr).write("\r\x1b[2K")
            self._write(text[: shutil.get_terminal_size().columns - 1])
        else:
            self._write(text + "\n")

    def _write(self, text: str) -> None:
        self._last = time.monotonic()
        sys.stderr.write(text)
        sys.stderr.flush()

    def _end_line(self) -> None:
        if self._live and self._stage:
            sys.stderr.write("\n")
        self._stage = ""


def show_error(error: AdvcalError) -> None:
    """Print an error and its hint on stderr."""
    sys.stderr.write(f"error: {printable(error.message)}\n")
    if error.hint:
        sys.stderr.write(f"\nhint: {printable(error.hint)}\n")
