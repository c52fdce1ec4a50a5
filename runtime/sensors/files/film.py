"""Video files, frame by frame: only the requested frames are kept.

Every frame is decoded, since seeking is inexact in most formats.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.opencv import cv2
from advcal_edge.runtime.sensors.files.sensor_file import MAGIC_BYTES, open_sensor_file, quoted
from advcal_edge.runtime.sensors.frame import Array

FORMATS = "mp4, mov, avi, mkv, webm, mpeg or ts"


def is_film(magic: bytes) -> bool:
    """Does a file begin like one of `FORMATS`? Playlists, which name other files, never reach the decoder."""
    return (
        magic[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
        or (magic[:4] == b"RIFF" and magic[8:12] == b"AVI ")
        or magic.startswith((b"\x1a\x45\xdf\xa3", b"\0\0\x01\xba", b"\0\0\x01\xb3"))
        or (magic[:1] == b"G" and magic[188:189] == b"G")
    )


def measure_film(path: Path) -> tuple[int, float]:
    """Number of frames and frames per second of a film.

    Raises:
        InputError: missing, of another format, too large, too long, or not decodable.
    """
    with _opened(path) as (capture, magic):
        rate = capture.get(cv2.CAP_PROP_FPS)
        if not (math.isfinite(rate) and 0 < rate <= 1000):
            raise InputError(
                f"`{path}` claims {rate:g} frames a second; expected a rate up to 1000", hint=_converted(path, "-r 30 ")
            )
        width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        if not 0 < width * height < math.inf:
            raise InputError(f"`{path}` claims {width:g} x {height:g} pixels", hint=_converted(path))
        limits.FILM_PIXELS.check(width * height, f"`{path}`, {width:g} x {height:g},", InputError)
        claimed = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        limits.FILM_FRAMES.check(claimed, f"`{path}`", InputError)
        if claimed > 0 and not magic.startswith((b"\0\0\x01", b"G")):
            return round(claimed), rate
        return sum(1 for _ in _grab(capture, path)), rate  # a stream has no index, and its declared length is a guess


def read_film(
    path: Path, wanted: Iterable[int], frames: int, keep: Callable[[Array], Array]
) -> tuple[dict[int, Array], int]:
    """Results of `keep` for the wanted frames, RGB (h, w, 3) uint8, of a film that claims `frames`; and its length.

    The whole film is decoded, to detect one that was truncated: decoders end it without an error.

    Raises:
        InputError: fewer frames decode than the file claims; up to 1 % may be missing, since some writers miscount.
    """
    remaining = set(wanted)
    kept: dict[int, Array] = {}
    decoded = 0
    with _opened(path) as (capture, _):
        for index in _grab(capture, path):
            decoded = index + 1
            if index in remaining:
                whole, frame = capture.retrieve()
                if not whole or frame is None or frame.ndim != 3 or frame.shape[2] != 3:
                    raise InputError(f"frame {index} of `{path}` does not decode", hint=_converted(path))
                limits.FILM_PIXELS.check(
                    frame.shape[0] * frame.shape[1], f"`{path}`, frame {index} unlike those before,", InputError
                )
                kept[index] = keep(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    if decoded < max(2, frames - max(1, frames // 100)):
        raise InputError(
            f"`{path}` claims {frames} frames and {decoded} decode: it is truncated or corrupt",
            hint=f"{_converted(path)}, with what there is; or copy or record it again",
        )
    return kept, decoded


@contextmanager
def _opened(path: Path) -> Iterator[tuple[cv2.VideoCapture, bytes]]:
    """A decoder of the film, and its first bytes."""
    with open_sensor_file(path, limits.FILM_BYTES) as file:
        magic = file.read(MAGIC_BYTES)
        if not is_film(magic):
            raise InputError(f"`{path}` is none of the formats {FORMATS}", hint=_converted(path))
        if cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):  # by its handle: a name may be a pattern, or another file
            capture = cv2.VideoCapture(f"/proc/self/fd/{file.fileno()}", cv2.CAP_FFMPEG)
        else:
            capture = cv2.VideoCapture(os.fspath(path), cv2.CAP_ANY)
        try:
            if not capture.isOpened():
                raise InputError(
                    f"`{path}` is a film that does not decode: it is truncated or corrupt, or its codec is unknown",
                    hint=_converted(path),
                )
            yield capture, magic
        finally:
            capture.release()


def _converted(path: Path, options: str = "") -> str:
    """The command that converts a film to a format that decodes everywhere."""
    return f"`ffmpeg -i {quoted(path)} {options}-c:v libx264 -pix_fmt yuv420p film.mp4` writes it anew"


def _grab(capture: cv2.VideoCapture, path: Path) -> Iterator[int]:
    index, most = 0, limits.FILM_FRAMES.value
    while capture.grab():
        if index == most:
            limits.FILM_FRAMES.check(index + 1, f"`{path}`", InputError)
        yield index
        index += 1
