"""Frames that are cut out of pictures: squares around boxes, and squares that touch no box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from advcal_edge.calibrate.data.layouts.listing import Box
from advcal_edge.calibrate.data.samples import Pickable
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors import Frame, read_frame
from advcal_edge.spec import Modality
from advcal_edge.storage import sha256_bytes

TRIES = 64
"""Places at which room for a square is looked for."""


@dataclass(frozen=True, slots=True)
class CropFiles(Pickable):
    """Parts of pictures that stay on disk until they are used."""

    paths: tuple[Path, ...]
    boxes: tuple[Box, ...]
    modality: Modality

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> CropFiles: ...
    def __getitem__(self, index: int | slice) -> Frame | CropFiles:
        if isinstance(index, slice):
            return CropFiles(self.paths[index], self.boxes[index], self.modality)
        return read_crop(self.paths[index], self.boxes[index], self.modality)

    def pick(self, index: NDArray[np.integer[Any]]) -> CropFiles:
        """The parts at `index`, in that order."""
        places = [int(place) for place in index]
        return CropFiles(
            tuple(self.paths[place] for place in places), tuple(self.boxes[place] for place in places), self.modality
        )


def read_crop(path: Path, box: Box, modality: Modality) -> Frame:
    """The part of a picture (h, w) or (h, w, channels) inside a box.

    Raises:
        InputError: the picture cannot be read, or does not reach as far as the box.
    """
    frame = read_frame(path, modality)
    left, top, right, bottom = box
    if not isinstance(frame, np.ndarray) or frame.ndim < 2 or frame.shape[0] < bottom or frame.shape[1] < right:
        shape = getattr(frame, "shape", None)
        raise InputError(
            f"`{path}` is {shape}; expected {right} x {bottom} pixels or more, as its annotation says",
            hint="unpack pictures and annotations of the same release",
        )
    return np.ascontiguousarray(frame[top:bottom, left:right])


def clipped(box: Box, width: int, height: int) -> Box | None:
    """The part of a box inside a picture; None if there is none."""
    left, top, right, bottom = max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height)
    return (left, top, right, bottom) if left < right and top < bottom else None


def square_around(box: Box, width: int, height: int) -> Box:
    """A square as long as the longer side of a box, about its centre, moved or shrunk to fit into the picture."""
    left, top, right, bottom = box
    side = min(max(right - left, bottom - top), width, height)
    left = min(max((left + right - side) // 2, 0), width - side)
    top = min(max((top + bottom - side) // 2, 0), height - side)
    return left, top, left + side, top + side


def squares_beside(boxes: Sequence[Box], sides: Sequence[int], width: int, height: int, name: str) -> list[Box]:
    """A square of each side that touches no box, at random places that `name` decides; none where no room is found."""
    rng = np.random.default_rng(int(sha256_bytes(name.encode())[:16], 16))
    left, top, right, bottom = np.array(boxes).T[:, None]
    found: list[Box] = []
    for side in sides:
        x, y = rng.integers(0, width - side + 1, TRIES), rng.integers(0, height - side + 1, TRIES)
        apart = (
            (x[:, None] >= right) | (x[:, None] + side <= left) | (y[:, None] >= bottom) | (y[:, None] + side <= top)
        )
        for place in np.flatnonzero(apart.all(axis=1))[:1]:
            found.append((int(x[place]), int(y[place]), int(x[place]) + side, int(y[place]) + side))
    return found
