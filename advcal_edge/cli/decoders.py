"""Capture what libpng and libjpeg write to file descriptor 2 about a broken image, so that we can report it.

They have no setting for it, and a descriptor belongs to the whole process. So only the command line redirects it, and
only while one image is decoded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from threading import Lock

from advcal_edge.report.table import one_line

HEARD_BYTES = 4096  # one line per broken file is enough; decoders write one per row

_one_at_a_time = Lock()


def keep_decoders_quiet() -> None:
    """Stop decoders of sensor files from writing to the user's terminal."""
    from advcal_edge.runtime.sensors.files.opencv import hear_decoders

    hear_decoders(overheard)


@contextmanager
def overheard() -> Iterator[list[str]]:
    """Redirect file descriptor 2 to a file; on exit the lines written to it are in the list."""
    said: list[str] = []
    with _one_at_a_time, TemporaryFile() as heard:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        try:
            terminal = os.dup(2)
        except OSError:  # there is no stderr to redirect
            yield said
            return
        os.dup2(heard.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            heard.seek(0)
            lines = heard.read(HEARD_BYTES).decode("utf-8", "replace").splitlines()
            said += [one_line(line)[:200] for line in lines if line.strip()]
