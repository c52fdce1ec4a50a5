"""What every data source returns: raw sensor frames with their labels, not yet preprocessed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import InputError
from advcal_edge.runtime.preprocess import Frame


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Labelled raw frames; `labels` (n,) index into `names`, and `license` is the SPDX identifier of the data."""

    frames: tuple[Frame, ...]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    source: str
    license: str

    def __post_init__(self) -> None:
        if self.labels.shape != (len(self.frames),) or self.labels.dtype != np.int64:
            raise InputError(
                f"labels are {self.labels.dtype} {self.labels.shape}; expected int64 ({len(self.frames)},), one a frame"
            )
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
        frames = tuple(self.frames[int(i)] for i in index)
        return Samples(frames, self.labels[index], self.names, self.source, self.license)
