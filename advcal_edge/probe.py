"""Labelled samples kept in a bundle: preprocessed, in physical bounds, to be attacked or to calibrate quantisers."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.checked_file import CheckedFile
from advcal_edge.errors import BundleError
from advcal_edge.npz import Npz, open_npz
from advcal_edge.spec import TensorSpec

LEVELS = (np.dtype(np.uint8), np.dtype(np.uint16))
HINT = "copy the bundle again, or calibrate again"


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Inputs x (n, ...) float32 within the spec's bounds, their class indices y (n,), and their partners."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    partner: NDArray[np.float32] | None = None
    """Unit-norm embeddings (n, d) of the same moments from another sensor, by the same frozen encoder."""

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def head(self, n: int) -> Probe:
        """The first `n` samples; the order on disk is already shuffled over classes."""
        return self.take(slice(n))

    def take(self, rows: slice | NDArray[Any]) -> Probe:
        """The samples at `rows`."""
        return Probe(self.x[rows], self.y[rows], None if self.partner is None else self.partner[rows])

    def to_bytes(self, spec: TensorSpec) -> bytes:
        """As npz without pickle; samples that lie on an 8- or 16-bit grid over the bounds are stored as integers."""
        stored: NDArray[Any] = self.x
        for kind in LEVELS:
            share = (self.x.astype(np.float64) - spec.bounds[0]) / spec.width
            levels = np.rint(share * np.iinfo(kind).max).astype(kind)
            if np.array_equal(from_levels(levels, spec), self.x):
                stored = levels
                break
        buffer = io.BytesIO()
        paired: dict[str, Any] = {} if self.partner is None else {"partner": self.partner}
        np.savez_compressed(buffer, x=stored, y=self.y, **paired)
        return buffer.getvalue()

    @classmethod
    def load(cls, path: Path, spec: TensorSpec) -> Probe:
        """Read what `to_bytes` wrote, whole.

        Raises:
            BundleError: not such a file.
            InputError: samples that do not fit `spec`.
        """
        return ProbeFile.open(CheckedFile.of(path), spec).head()


@dataclass(frozen=True, slots=True, eq=False)
class ProbeFile:
    """Samples on disk, as they were hashed: labels and partners in memory, inputs read block by block."""

    file: CheckedFile
    spec: TensorSpec
    y: NDArray[np.int64]
    partner: NDArray[np.float32] | None

    @classmethod
    def open(cls, file: CheckedFile, spec: TensorSpec) -> ProbeFile:
        """Read labels and partners, and check number and shape of the inputs.

        Raises:
            BundleError: not such a file, changed since it was hashed, or samples that do not fit `spec`.
        """
        path = file.path
        with reading(file) as archive:
            with archive.stream("x") as (_, shape, dtype):
                pass
            y = archive.array("y")
            partner = archive.array("partner") if "partner" in archive.names else None
        if len(shape) < 2 or shape[1:] != spec.shape or (dtype not in LEVELS and dtype != np.float32):
            raise BundleError(
                f"`{path}` holds samples {shape} of {dtype}; expected (n, {str(spec.shape)[1:]}", hint=HINT
            )
        if y.shape != shape[:1] or not np.issubdtype(y.dtype, np.integer):
            raise BundleError(
                f"`{path}` holds samples {shape} with labels {y.shape}; expected one per sample", hint=HINT
            )
        if partner is not None:
            fits = partner.ndim == 2 and len(partner) == len(y) and np.issubdtype(partner.dtype, np.floating)
            if not fits or not np.allclose(np.linalg.norm(partner, axis=-1), 1, atol=1e-3):
                raise BundleError(
                    f"`{path}` holds partners {partner.shape} of {partner.dtype}; expected ({len(y)}, d) of unit norm",
                    hint=HINT,
                )
            partner = partner.astype(np.float32)
        return cls(file, spec, y.astype(np.int64), partner)

    def head(self, n: int | None = None) -> Probe:
        """The first `n` samples, or all; the rest of the file is not unpacked.

        Raises:
            BundleError: the file is damaged, or was changed since it was hashed.
            InputError: inputs that do not fit the spec.
        """
        count = len(self.y) if n is None else min(n, len(self.y))
        limits.SAMPLES_BYTES.check(
            4 * count * math.prod(self.spec.shape), f"`{self.file.path}`, as float32,", BundleError
        )
        empty = Probe(np.empty((0, *self.spec.shape), np.float32), self.y[:0])
        return next(self.blocks(max(count, 1), count), empty)

    def blocks(self, size: int, n: int) -> Iterator[Probe]:
        """The first `n` samples, `size` at a time.

        Raises:
            BundleError: the file is damaged, or was changed since it was hashed.
            InputError: inputs that do not fit the spec.
        """
        with reading(self.file) as archive:
            for start, x in zip(range(0, n, size), archive.rows("x", size, n), strict=True):
                rows = slice(start, start + len(x))
                x = from_levels(x, self.spec) if x.dtype in LEVELS else x
                yield Probe(self.spec.check(x), self.y[rows], None if self.partner is None else self.partner[rows])


@contextmanager
def reading(file: CheckedFile) -> Iterator[Npz]:
    """The archive of a file of samples, or of what a model makes of them.

    Raises:
        BundleError: the file cannot be read, is damaged, or was changed since it was hashed.
    """
    with (
        file.open() as opened,
        open_npz(opened, f"`{file.path}`", limits.SAMPLES_BYTES, BundleError, hint=HINT) as archive,
    ):
        yield archive


def from_levels(levels: NDArray[Any], spec: TensorSpec) -> NDArray[np.float32]:
    """Unsigned integers as float32 over the bounds: zero at the lower bound, the largest value at the upper."""
    low, width = np.float32(spec.bounds[0]), np.float32(spec.width)
    return (levels.astype(np.float32) / np.float32(np.iinfo(levels.dtype).max) * width + low).astype(np.float32)
