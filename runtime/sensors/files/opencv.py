"""OpenCV, configured so that its decoders print nothing about broken files.

OpenCV and FFmpeg read their log levels from the environment, once: a program that wants their messages sets the two
variables itself. libpng, libjpeg and libmpg123 have no such setting and write to file descriptor 2; a program that owns
its stderr can pass `hear_decoders` a context manager that captures their output.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2  # after its settings

__all__ = ["cv2", "decode_page", "decode_picture", "hear_decoders", "hearing"]

Hearing = Callable[[], AbstractContextManager[list[str]]]
_hearing: Hearing = cast(Hearing, lambda: nullcontext([]))


def hear_decoders(how: Hearing) -> None:
    """Decode every image and sound inside `how()`, which yields a list and fills it with lines when it ends."""
    global _hearing
    _hearing = how


def hearing() -> AbstractContextManager[list[str]]:
    """Where a decoder runs that writes to file descriptor 2."""
    return _hearing()


def decode_picture(data: bytes) -> tuple[NDArray[Any] | None, list[str]]:
    """The image in a file's bytes, channels in OpenCV's order, or None; and the output of its decoder."""
    with _hearing() as said:
        try:
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except (cv2.error, MemoryError):
            picture = None
    return picture, said


def decode_page(data: bytes, page: int, flags: int) -> tuple[NDArray[Any] | None, list[str]]:
    """The same of one page of a tiff; `flags` say whether values stay as stored or become colours of eight bits."""
    with _hearing() as said:
        try:
            _, pages = cv2.imdecodemulti(np.frombuffer(data, np.uint8), flags, None, (page, page + 1))
        except (cv2.error, MemoryError):
            pages = ()
    return (pages[0] if len(pages) == 1 else None), said
