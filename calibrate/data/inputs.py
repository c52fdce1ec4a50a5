"""Inputs of the training, preprocessed: kept in memory if they fit, else read again whenever they are needed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from advcal_edge.calibrate.compute import ordered
from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors import preprocess
from advcal_edge.spec import Modality

GIB = 2**30


class Inputs(Protocol):
    """Physical inputs (n, ...) by row."""

    def __len__(self) -> int: ...

    def load(self, rows: Tensor) -> Tensor:
        """New x (m, ...) of the rows (m,), on the CPU.

        Raises:
            InputError: a frame cannot be read any more, or is not one.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """Inputs x (n, ...) in memory."""

    x: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def load(self, rows: Tensor) -> Tensor:
        """Copies of the rows."""
        return self.x[rows]


@dataclass(frozen=True, slots=True, eq=False)
class Streamed:
    """Inputs that are made from frames each time."""

    samples: Samples
    modality: Modality

    def __len__(self) -> int:
        return len(self.samples)

    def load(self, rows: Tensor) -> Tensor:
        """Read and preprocess the frames of the rows."""
        taken = self.samples.take(rows.numpy())
        x = preprocess(self.modality, taken.frames)
        for place in np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))[:1]:
            raise InputError(
                f"sample {int(rows[place])} of `{taken.source}`, of the class `{taken.names[taken.labels[place]]}`,"
                " holds values that are not finite; expected numbers",
                hint="leave the frame out, or mend it",
            )
        return torch.from_numpy(x)


def make_inputs(samples: Samples, modality: Modality, memory: float) -> Inputs:
    """Inputs of all samples, in memory if they take at most `memory` GiB.

    Raises:
        InputError: they are to be kept, and one cannot be read or is not finite.
    """
    streamed = Streamed(samples, modality)
    if 4 * len(samples) * math.prod(modality.input.shape) > memory * GIB:
        return streamed
    return Kept(streamed.load(torch.arange(len(samples))))


def stream(inputs: Inputs, rows: Iterable[Tensor], device: torch.device, workers: int) -> Iterator[Tensor]:
    """x (m, ...) of each set of rows, on `device`; what is not in memory is read ahead by `workers` threads.

    Threads and not processes: reading and decoding release the interpreter's lock, and need neither shared memory, of
    which containers have little, nor a fork of a process with threads.
    """

    def load(own: Tensor) -> Tensor:
        x = inputs.load(own)
        return x.pin_memory() if device.type == "cuda" else x

    if isinstance(inputs, Kept):
        yield from (load(own).to(device, non_blocking=True) for own in rows)
        return
    with ThreadPoolExecutor(workers, "inputs") as threads:
        for x in ordered(threads, load, rows, workers):
            yield x.to(device, non_blocking=True)
