"""Video files, frame by frame: only the frames that are asked for are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from advcal_edge.errors import InputError
from advcal_edge.runtime.preprocess.frame import MAX_PIXELS, Array
from advcal_edge.runtime.preprocess.magic import read_magic

MAX_BYTES = 8 * 2**30
MAX_FRAMES = 2**17
"""73 minutes at 30 Hz: every frame is decoded, for seeking lands on other frames in most formats."""

FORMATS = "mp4, mov, avi, mkv, webm, mpeg or ts"


def is_film(magic: bytes) -> bool:
    """Whether a file begins as one of `FORMATS`: play lists, which name other files, never reach the decoder."""
    return (
        magic[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
        or (magic[:4] == b"RIFF" and magic[8:12] == b"AVI ")
        or magic.startswith((b"\x1a\x45\xdf\xa3", b"\0\0\x01\xba", b"\0\0\x01\xb3"))
        or (magic[:1] == b"G" and magic[188:189] == b"G")
    )


def measure_film(path: Path) -> tuple[int, float]:
    """How many frames a film has, and how many a second.

    Raises:
        InputError: missing, of another format, too large, too long, or not decodable.
    """
    magic = read_magic(path, MAX_BYTES)
    if not is_film(magic):
        raise InputError(f"`{path}` is none of the formats {FORMATS}")
    with _opened(path) as capture:
        rate = capture.get(cv2.CAP_PROP_FPS)
        if not (math.isfinite(rate) and 0 < rate <= 1000):
            raise InputError(f"`{path}` claims {rate:g} frames a second; expected a rate up to 1000")
        pixels = capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        if not 0 < pixels <= MAX_PIXELS:
            raise InputError(f"`{path}` claims {pixels:g} pixels; expected at least one and at most {MAX_PIXELS}")
        claimed = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if claimed > MAX_FRAMES:
            raise InputError(f"`{path}` claims {claimed:g} frames; expected at most {MAX_FRAMES}")
        if claimed > 0 and not magic.startswith((b"\0\0\x01", b"G")):
            return round(claimed), rate
        return sum(1 for _ in _grab(capture, path)), rate  # a stream has no index, and its length is a guess


def read_film(
    path: Path, wanted: Iterable[int], frames: int, keep: Callable[[Array], Array]
) -> tuple[dict[int, Array], int]:
    """What `keep` makes of each wanted frame, RGB (h, w, 3) uint8, of a film that claims `frames`; and how many it has.

    The whole film is decoded, so that one cut short is noticed: decoders end it without an error.

    Raises:
        InputError: fewer frames decode than the file claims; a hundredth may be missing, as some writers miscount.
    """
    remaining = set(wanted)
    kept: dict[int, Array] = {}
    decoded = 0
    with _opened(path) as capture:
        for index in _grab(capture, path):
            decoded = index + 1
            if index in remaining:
                whole, frame = capture.retrieve()
                if not whole or frame is None or frame.ndim != 3 or frame.shape[2] != 3:
                    raise InputError(f"frame {index} of `{path}` does not decode")
                kept[index] = keep(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    if decoded < max(2, frames - max(1, frames // 100)):
        raise InputError(f"`{path}` claims {frames} frames and {decoded} decode: it is truncated or corrupt")
    return kept, decoded


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    ffmpeg = cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG if ffmpeg else cv2.CAP_ANY)
    try:
        if not capture.isOpened():
            raise InputError(
                f"`{path}` is a film that does not decode: it is truncated or corrupt, or its codec is unknown",
                hint=f"ffmpeg -i {path.name} -c:v libx264 film.mp4",
            )
        yield capture
    finally:
        capture.release()


def _grab(capture: cv2.VideoCapture, path: Path) -> Iterator[int]:
    index = 0
    while capture.grab():
        if index == MAX_FRAMES:
            raise InputError(f"`{path}` has more than {MAX_FRAMES} frames")
        yield index
        index += 1
