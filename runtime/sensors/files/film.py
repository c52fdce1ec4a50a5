"""Video files, frame by frame: time stamps of all frames, and the pictures of those that are wanted.

Every frame is decoded, since seeking is inexact in most formats, and since decoders end a truncated film without an
error. OpenCV's wheels contain FFmpeg with decoders of AV1, VP9, H.264 and H.265, on x86-64 as on aarch64.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.animation import read_animation
from advcal_edge.runtime.sensors.files.film_framing import Framing, read_framing
from advcal_edge.runtime.sensors.files.film_kind import FORMATS, TIFF, WEBP, FilmKind, identify_film, name_codec
from advcal_edge.runtime.sensors.files.opencv import cv2
from advcal_edge.runtime.sensors.files.sensor_file import MAGIC_BYTES, open_sensor_file, quoted
from advcal_edge.runtime.sensors.frame import Array

LOST = 0.01
"""Share of the frames that a film may lack, since some writers miscount; one frame always."""

CUT = 0.9
"""Share of the duration that a format without a count must reach; the sound of a film may be longer."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a film says of itself."""

    kind: FilmKind
    frames: int
    """Number of frames by its header, or by rate and duration; 0 if it says nothing."""
    rate: float
    """Frames a second; 0 if it says nothing possible."""
    framing: Framing


def measure_film(path: Path) -> Claims:
    """What a film says of itself.

    Raises:
        InputError: missing, of another format, too large, too long, truncated, or not decodable.
    """
    kind, framing = _identify(path)
    if kind is WEBP:
        return Claims(kind, 0, 0.0, framing)
    with _opened(path, kind) as capture:
        rate = capture.get(cv2.CAP_PROP_FPS)
        width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        if not 0 < width * height < math.inf:
            raise InputError(f"`{path}` claims {width:g} x {height:g} pixels", hint=_converted(path))
        limits.FILM_PIXELS.check(width * height, f"`{path}`, {width:g} x {height:g},", InputError)
        frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if kind.claims == "frames":
            limits.FILM_FRAMES.check(frames, f"`{path}`", InputError)
        elif not 0 < frames < limits.FILM_FRAMES.value:
            frames = 0  # a guess, and a wild one
        if framing.unfinished:
            frames = 0
        return Claims(kind, max(0, round(frames)), rate if 0 < rate < math.inf else 0.0, framing)


def scan_film(
    path: Path, claims: Claims, wanted: Iterable[int], keep: Callable[[Array], Array]
) -> tuple[dict[int, Array], NDArray[np.float64]]:
    """Results of `keep` for wanted frames, RGB (h, w, 3) uint8, of a film; and when each of all frames is shown.

    Times are in seconds. They are NaN in films without time stamps.

    Raises:
        InputError: a wanted frame does not decode, or fewer frames do than the film claims.
    """
    remaining = set(wanted)
    kept: dict[int, Array] = {}
    stamps: list[float] = []
    if claims.kind is WEBP:
        pictures, times = read_animation(path)
        return {index: keep(pictures[index]) for index in remaining if index < len(pictures)}, times
    with _opened(path, claims.kind) as capture:
        for index in _grab(capture, path):
            stamps.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
            if index in remaining:
                whole, frame = capture.retrieve()
                if not whole or frame is None or frame.ndim != 3 or frame.shape[2] != 3:
                    raise InputError(f"frame {index} of `{path}` does not decode", hint=_converted(path))
                limits.FILM_PIXELS.check(
                    frame.shape[0] * frame.shape[1], f"`{path}`, frame {index} unlike those before,", InputError
                )
                kept[index] = keep(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    times = _mend_stamps(np.array(stamps, np.float64), claims.kind)
    _check_length(path, claims, times)
    return kept, times


def _mend_stamps(stamps: NDArray[np.float64], kind: FilmKind) -> NDArray[np.float64]:
    """Times of all frames; those that a decoder held back to the end come without, and follow each other as usual."""
    if not kind.has_stamps or len(stamps) < 2 or not stamps.any():
        return np.full(len(stamps), np.nan)
    last = len(stamps)
    while last > 2 and stamps[last - 1] == 0:  # OpenCV gives 0 for a frame without a stamp
        last -= 1
    if last < len(stamps):
        usual = float(np.median(np.diff(stamps[:last])))
        stamps[last:] = stamps[last - 1] + usual * np.arange(1, len(stamps) - last + 1)
    return stamps


def _check_length(path: Path, claims: Claims, times: NDArray[np.float64]) -> None:
    decoded, claimed, framing = len(times), claims.frames, claims.framing
    if claims.kind.claims == "frames":
        claimed -= min(claimed, framing.dropped)
        if framing.shown < math.inf and claims.rate:
            claimed = min(claimed, int(framing.shown * claims.rate))
        if decoded >= claimed - max(1, int(LOST * claimed)):
            return
        found = f"claims {claimed} frames and {decoded} decode"
    elif claims.kind.claims == "duration" and claims.rate and not framing.sound:
        duration, reached = claimed / claims.rate, 0.0
        if decoded > 1 and not np.isnan(times).any():
            reached = float(times[-1] - times[0]) * decoded / (decoded - 1)
        if decoded and reached >= CUT * duration - 1:
            return
        found = f"claims {duration:.3f} s and {reached:.3f} s decode, {decoded} frames"
    elif decoded:
        return
    else:
        found = "is a film of which nothing decodes"
    codec = codec_of(path) if decoded == 0 else ""
    what = f": its codec is unknown here ({codec})" if codec else ": it is truncated or corrupt"
    raise InputError(
        f"`{path}` {found}{what}", hint=f"{_converted(path)}, with what there is; or copy or record it again"
    )


def codec_of(path: Path) -> str:
    """The codec that a film names, or nothing."""
    with open_sensor_file(path, limits.FILM_BYTES) as file:
        return name_codec(file)


def _identify(path: Path) -> tuple[FilmKind, Framing]:
    with open_sensor_file(path, limits.FILM_BYTES) as file:
        kind = identify_film(file.read(MAGIC_BYTES))
        if kind is None:
            raise InputError(f"`{path}` is none of the formats {FORMATS}", hint=_converted(path))
        framing = read_framing(file, kind)
    _check_framing(path, kind, framing)
    return kind, framing


@contextmanager
def _opened(path: Path, kind: FilmKind) -> Iterator[cv2.VideoCapture]:
    """A decoder of the film."""
    with open_sensor_file(path, limits.FILM_BYTES) as file:
        if cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):  # by its handle: a name may be a pattern, or another file
            capture = cv2.VideoCapture(f"/proc/self/fd/{file.fileno()}", cv2.CAP_FFMPEG)
        else:
            capture = cv2.VideoCapture(os.fspath(path), cv2.CAP_ANY)
        try:
            if not capture.isOpened():
                codec = name_codec(file)
                named = f"{codec} in {kind.name}" if codec else kind.name
                raise InputError(
                    f"`{path}` ({named}) does not decode: it is truncated or corrupt, or its codec is unknown",
                    hint=_converted(path),
                )
            yield capture
        finally:
            capture.release()


def _check_framing(path: Path, kind: FilmKind, framing: Framing) -> None:
    if not framing.index:
        raise InputError(
            f"`{path}` is an MP4 without its index (`moov`): the recorder was stopped before it wrote it, or it is"
            " truncated or corrupt",
            hint=f"`untrunc GOOD.mp4 {quoted(path)}` makes the index anew from another film of the same camera;"
            " recorders that may be killed write mkv",
        )
    if framing.missing and not framing.unfinished:
        raise InputError(
            f"`{path}` ({kind.name}) lacks {framing.missing:,} bytes or more that it announces: it is truncated or"
            " corrupt",
            hint=f"{_converted(path)}, with what there is; or copy or record it again",
        )
    if kind is TIFF:
        raise InputError(
            f"`{path}` is a TIFF file; expected a film",
            hint="save a stack of RGB pages as an array: `numpy.save('film.npy', tifffile.imread('film.tif'))`",
        )


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
