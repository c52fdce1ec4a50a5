"""Output of every data source: raw sensor frames with their labels, before preprocessing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors import Frame, read_frame
from advcal_edge.spec import Modality


class Pickable(Sequence[Frame], ABC):
    """Frames that a selection leaves where they are."""

    @abstractmethod
    def pick(self, index: NDArray[np.integer[Any]]) -> Pickable:
        """The frames at `index`, in that order."""


@dataclass(frozen=True, slots=True)
class FrameFiles(Sequence[Frame]):
    """Frames that stay on disk until they are used, since a folder of videos may not fit into memory."""

    paths: tuple[Path, ...]
    modality: Modality

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> FrameFiles: ...
    def __getitem__(self, index: int | slice) -> Frame | FrameFiles:
        if isinstance(index, slice):
            return FrameFiles(self.paths[index], self.modality)
        return read_frame(self.paths[index], self.modality)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Labelled raw frames; `labels` (n,) index into `names`, and `license` is the SPDX identifier of the data."""

    frames: Sequence[Frame]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    source: str
    license: str
    partners: Sequence[Frame] | None = None
    """The same moments from another sensor, one per frame."""
    partner: str | None = None
    """Modality of that sensor."""

    def __post_init__(self) -> None:
        if self.labels.shape != (len(self.frames),) or self.labels.dtype != np.int64:
            raise InputError(
                f"labels are {self.labels.dtype} {self.labels.shape}; expected int64 ({len(self.frames)},), one a frame"
            )
        if self.partners is not None and len(self.partners) != len(self.frames):
            raise InputError(f"{len(self.frames)} frames have {len(self.partners)} partners; expected one a frame")
        if len(set(self.names)) != len(self.names):
            raise InputError("two classes carry the same name; names must be unique")
        if self.labels.size and not (self.labels.min() >= 0 and self.labels.max() < len(self.names)):
            raise InputError(
                f"labels span [{self.labels.min()}, {self.labels.max()}]; expected [0, {len(self.names) - 1}]"
            )

    def __len__(self) -> int:
        return len(self.frames)

    def take(self, index: NDArray[np.integer[Any]]) -> Samples:
        """The samples at `index`, in that order."""
        partners = None if self.partners is None else pick(self.partners, index)
        return Samples(
            pick(self.frames, index), self.labels[index], self.names, self.source, self.license, partners, self.partner
        )


def pick(frames: Sequence[Frame], index: NDArray[np.integer[Any]]) -> Sequence[Frame]:
    """The frames at `index`; those on disk stay there."""
    if isinstance(frames, Pickable):
        return frames.pick(index)
    if isinstance(frames, FrameFiles):
        return FrameFiles(tuple(frames.paths[int(i)] for i in index), frames.modality)
    return tuple(frames[int(i)] for i in index)
