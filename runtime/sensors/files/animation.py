"""Animated WebP, which FFmpeg does not read: all pictures at once, since these films are short."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.opencv import cv2
from advcal_edge.runtime.sensors.files.sensor_file import AGAIN, read_sensor_file
from advcal_edge.runtime.sensors.frame import Array


def read_animation(path: Path) -> tuple[list[Array], NDArray[np.float64]]:
    """The pictures of an animated WebP, RGB (h, w, 3) uint8, and the second at which each is shown.

    Raises:
        InputError: missing, too large, truncated or corrupt.
    """
    data = read_sensor_file(path)
    width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    claimed, whole = _count_pictures(data)
    where = f"`{path}`, {claimed} pictures of {width} x {height},"
    limits.FILM_PIXELS.check(width * height, where, InputError)
    limits.SENSOR_BYTES.check(claimed * width * height * 4, where, InputError)
    decoded, animation = False, cv2.Animation()
    if whole:
        try:
            decoded, animation = cv2.imdecodeanimation(np.frombuffer(data, np.uint8)[None])  # one row
        except (cv2.error, MemoryError):
            decoded = False
    pictures = list(animation.frames) if decoded else []
    if len(pictures) != claimed or any(picture.shape[:2] != (height, width) for picture in pictures):
        raise InputError(
            f"`{path}` is a truncated or corrupt animated WebP of {len(data)} bytes: {len(pictures)} of {claimed}"
            " pictures decode",
            hint=AGAIN,
        )
    durations = np.array(animation.durations, np.float64) / 1000
    durations[durations <= 0.01] = 0.1  # as browsers show them
    return [cv2.cvtColor(picture[..., :3], cv2.COLOR_BGR2RGB) for picture in pictures], np.r_[
        0, durations.cumsum()[:-1]
    ]


def _count_pictures(data: bytes) -> tuple[int, bool]:
    """Number of `ANMF` chunks, and whether all chunks are there."""
    place, count = 12, 0
    while place + 8 <= len(data):
        count += data[place : place + 4] == b"ANMF"
        place += 8 + (int.from_bytes(data[place + 4 : place + 8], "little") + 1 & ~1)
    claimed = int.from_bytes(data[4:8], "little") + 8
    return count, place <= len(data) and claimed <= len(data) + 1
