"""Output streams that show untrusted text without letting it control the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from advcal_edge.report.table import printable


class PlainStream:
    """A text stream that keeps newlines, shows a space for any other character that is not printable, and an escape
    for what the encoding of the stream lacks.
    """

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw
        self._encoding = getattr(raw, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write the printable part of `text`; returns the length of `text`, as a text stream does."""
        plain = "\n".join(map(printable, text.split("\n")))
        self.raw.write(plain.encode(self._encoding, "backslashreplace").decode(self._encoding))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write each of the lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


@contextmanager
def plain_streams() -> Iterator[None]:
    """Make stdout and stderr plain, including output of the argument parser, warnings and tracebacks."""
    out, err = sys.stdout, sys.stderr
    plain_out, plain_err = (cast(TextIO, PlainStream(stream)) for stream in (out, err))
    sys.stdout, sys.stderr = plain_out, plain_err
    try:
        yield
    finally:
        if sys.stdout is plain_out:  # after a broken pipe typer has replaced it, and its stream must stay
            sys.stdout = out
        if sys.stderr is plain_err:
            sys.stderr = err


def terminal(stream: TextIO) -> TextIO:
    """The stream behind a plain stream, for our own control sequences."""
    return stream.raw if isinstance(stream, PlainStream) else stream
