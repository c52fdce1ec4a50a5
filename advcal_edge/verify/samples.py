"""The samples to attack: inputs and labels, the ball around each, split into blocks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from advcal_edge.anchor import AnchorFile
from advcal_edge.errors import InputError
from advcal_edge.probe import Probe, ProbeFile
from advcal_edge.threat import ThreatModel

BLOCK = 64
"""Samples per block: limits memory for any number of samples, and the work lost when a run is interrupted."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Clean x (n, ...), classes y (n,), the ball around each x, and the seed of the attacks."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    threat: ThreatModel
    seed: int
    first: int = 0
    """Position of the first of them among all held-out samples; each block has its own random stream."""
    partner: NDArray[np.float32] | None = None
    """Unit-norm embeddings (N, d) of *all* held-out moments from another sensor, if there are any."""
    anchor: NDArray[np.float32] | None = None
    """Stored embeddings (n, d) of these samples by the model that the reference should be, if there are any."""

    def __len__(self) -> int:
        return len(self.x)

    @property
    def own(self) -> NDArray[np.int64]:
        """Index (n,) of each sample's partner."""
        return np.arange(self.first, self.first + len(self))

    def head(self, n: int) -> Samples:
        """The first `n` samples."""
        anchor = None if self.anchor is None else self.anchor[:n]
        return Samples(self.x[:n], self.y[:n], self.threat, self.seed, self.first, self.partner, anchor)


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """All samples of a verification, read block by block so that the inputs are never in memory all at once."""

    n: int
    threat: ThreatModel
    seed: int
    partner: NDArray[np.float32] | None
    read: Callable[[int], Iterator[Probe]]
    """Read the samples in blocks of the given size, in order."""
    calibration: NDArray[np.float32] | None = None
    """A few inputs (m, ...) that quantisers were calibrated with, if there are any: none of them is held out."""
    read_anchor: Callable[[int], Iterator[NDArray[np.float32]]] | None = None
    """Read the stored embeddings of the samples in blocks of the given size, in order."""

    @classmethod
    def of(
        cls,
        probe: Probe,
        threat: ThreatModel,
        seed: int,
        calibration: NDArray[np.float32] | None = None,
        anchor: NDArray[np.float32] | None = None,
    ) -> HeldOut:
        """Wrap samples that are in memory already; `anchor` are their embeddings (n, d) by the model to compare with.

        Raises:
            InputError: not one partner embedding, or anchor, per sample.
        """
        if anchor is not None and len(anchor) != len(probe):
            raise InputError(f"the anchor is {anchor.shape}; expected ({len(probe)}, d), one embedding a sample")

        def read(size: int) -> Iterator[Probe]:
            for start in range(0, len(probe), size):
                yield probe.take(slice(start, start + size))

        partner = check_partner(probe.partner, len(probe))
        read_anchor = None if anchor is None else in_blocks(anchor)
        return cls(len(probe), threat, seed, partner, read, calibration, read_anchor)

    @classmethod
    def open(
        cls,
        file: ProbeFile,
        n: int,
        threat: ThreatModel,
        seed: int,
        calibration: NDArray[np.float32] | None = None,
        anchor: AnchorFile | None = None,
        *,
        every_partner: bool = False,
    ) -> HeldOut:
        """The first `n` samples of a file and of their stored embeddings; their partners, or all partners."""
        n = min(n, len(file.y))
        partner = file.partner if every_partner or file.partner is None else file.partner[:n]
        read_anchor = None if anchor is None else lambda size: anchor.blocks(size, n)
        return cls(n, threat, seed, partner, lambda size: file.blocks(size, n), calibration, read_anchor)

    def __len__(self) -> int:
        return self.n

    @property
    def count(self) -> int:
        """Number of blocks."""
        return -(-self.n // BLOCK)

    def blocks(self, wanted: Collection[int]) -> Iterator[tuple[int, Samples]]:
        """The blocks at these indices, in order."""
        if not wanted:
            return
        last = max(wanted)
        anchors = repeat(None) if self.read_anchor is None else self.read_anchor(BLOCK)
        for index, (probe, anchor) in enumerate(zip(self.read(BLOCK), anchors, strict=False)):
            if index in wanted:
                yield index, self.samples(probe, index * BLOCK, anchor)
            if index == last:
                return

    def head(self, n: int) -> Samples:
        """The first `n` samples."""
        return self.samples(next(self.read(min(n, self.n))), 0)

    def samples(self, probe: Probe, first: int, anchor: NDArray[np.float32] | None = None) -> Samples:
        """A part of the probe as samples to attack, with its stored embeddings."""
        return Samples(probe.x, probe.y, self.threat, self.seed, first, self.partner, anchor)


def in_blocks(z: NDArray[np.float32]) -> Callable[[int], Iterator[NDArray[np.float32]]]:
    """A function that gives the rows of z (n, d) in blocks of a size."""
    return lambda size: (z[start : start + size] for start in range(0, len(z), size))


def check_partner(partner: NDArray[np.float32] | None, n: int) -> NDArray[np.float32] | None:
    """Return the partners if there is one embedding per sample.

    Raises:
        InputError: any other number.
    """
    if partner is not None and (partner.ndim != 2 or len(partner) != n):
        raise InputError(f"partners are {partner.shape}; expected ({n}, d), one embedding a sample")
    return partner
