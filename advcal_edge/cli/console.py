"""What a person or a program sees: results on stdout, talk on stderr, understandable without colour.

Text passes here on its way out: lines are made printable, blocks keep their newlines and nothing else that a terminal
would obey. Who makes a block of strings from elsewhere puts each on one line, as `report.table` does with its cells.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any

from advcal_edge.cli.streams import terminal
from advcal_edge.errors import AdvcalError
from advcal_edge.lock import listen
from advcal_edge.report.table import printable


class Console:
    """Writes results to stdout and everything else to stderr."""

    def __init__(self, *, json_output: bool = False, last_word: bool = True) -> None:
        self.json_output = json_output
        self._last_word = last_word
        self._live = sys.stderr.isatty()
        self._stage = ""
        self._started = 0.0
        self._shown = -1
        listen(self.say)

    def step(self, name: str) -> Console:
        """A console for one step of a longer command, under a heading; the longer command has the last word."""
        self._end_line()
        sys.stderr.write("\n")
        self.say(name)
        return Console(json_output=self.json_output, last_word=False)

    def result(self, text: str) -> None:
        """One block of the result, for people; silent where one JSON document is the result."""
        if not self.json_output:
            self._end_line()
            sys.stdout.write("\n".join(map(printable, text.split("\n"))) + "\n")
            sys.stdout.flush()

    def document(self, data: Mapping[str, Any]) -> None:
        """The whole result as one JSON document, only with `--json`."""
        if self.json_output and self._last_word:
            self._end_line()
            sys.stdout.write(json.dumps(data, indent=2, allow_nan=False) + "\n")

    def say(self, text: str) -> None:
        """One line: what runs, on what, with which budget; warnings; the verdict line."""
        self._end_line()
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()

    def next(self, command: str) -> None:
        """The command to run next."""
        if self._last_word:
            self.say(f"next: {command}")

    def progress(self, stage: str, done: int, total: int) -> None:
        """One live line on a terminal, one line each 10 % elsewhere."""
        now = time.monotonic()
        if stage != self._stage:
            self._end_line()
            self._stage, self._started, self._shown = stage, now, -1
        percent = 100 * done // max(total, 1)
        step = percent if self._live else percent - percent % 10
        if step == self._shown:
            return
        self._shown = step
        elapsed = now - self._started
        text = printable(f"{stage}  {done}/{total}  {percent} %  {elapsed:.0f} s")
        if self._live:
            terminal(sys.stderr).write("\r\x1b[2K")
            sys.stderr.write(text)
            if done >= total:
                sys.stderr.write("\n")
                self._stage = ""
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def _end_line(self) -> None:
        if self._live and self._stage:
            sys.stderr.write("\n")
        self._stage = ""


def show_error(error: AdvcalError) -> None:
    """An error with its hint, on stderr."""
    sys.stderr.write(f"error: {printable(error.message)}\n")
    if error.hint:
        sys.stderr.write(f"\nhint: {printable(error.hint)}\n")
