"""Files are read once to check them, several at a time: decoders release Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

from advcal_edge.calibrate.data.split import frame_sha256
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors import Frame

T = TypeVar("T")

READERS = min(8, len(os.sched_getaffinity(0)))
"""Files read at a time: each may take as much memory as a sensor file is allowed to."""

BATCH = 256
"""Files that wait for a reader, at most."""

LISTED = 10  # unreadable files listed in an error


def frame_digests(items: Iterable[T], read: Callable[[T], Frame]) -> Iterator[str | InputError]:
    """Hash of the frame of each item, or why it cannot be read, in their order.

    Raises:
        DependencyError: the library that reads a file is not installed.
    """

    def look(item: T) -> str | InputError:
        try:
            return frame_sha256(read(item))
        except InputError as error:
            return error

    waiting = iter(items)
    with ThreadPoolExecutor(READERS) as pool:
        while batch := list(islice(waiting, BATCH)):
            yield from pool.map(look, batch)


def unreadable(bad: Sequence[InputError], looked_at: int, path: Path) -> InputError:
    """The error for files of a data set that cannot be read, out of those looked at."""
    shown = "".join(f"\n  {error.message}" for error in bad[:LISTED])
    rest = f"\n  and {len(bad) - LISTED} more" if len(bad) > LISTED else ""
    return InputError(
        f"{len(bad)} of {looked_at} files of `{path}` cannot be used:{shown}{rest}",
        hint=f"leave them out with `--skip-bad`, or mend them; the first: {bad[0].hint}",
    )
