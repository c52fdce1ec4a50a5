"""Labelled samples kept in a bundle: preprocessed, in physical bounds, to be attacked or to calibrate quantisers."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import BundleError
from advcal_edge.spec import TensorSpec

LEVELS = (np.dtype(np.uint8), np.dtype(np.uint16))
LARGEST = 4 * 2**30  # bytes unpacked; a small file from elsewhere may claim any size


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Inputs x (n, ...) float32 within the spec's bounds, their class indices y (n,), and what they are paired with."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    partner: NDArray[np.float32] | None = None
    """Unit-norm embeddings (n, d) of the same moments, as another sensor saw them, by the same frozen encoder."""

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
            BundleError: not such a file, or samples that do not fit `spec`.
        """
        file = ProbeFile.open(path, spec)
        parts = [part.x for part in file.blocks(max(len(file.y), 1), len(file.y))]
        x = parts[0] if parts else np.empty((0, *spec.shape), np.float32)
        return cls(x, file.y, file.partner)


@dataclass(frozen=True, slots=True, eq=False)
class ProbeFile:
    """Samples on disk: labels and partners at hand, inputs read block by block."""

    path: Path
    spec: TensorSpec
    y: NDArray[np.int64]
    partner: NDArray[np.float32] | None

    @classmethod
    def open(cls, path: Path, spec: TensorSpec) -> ProbeFile:
        """Read labels and partners, and check that the inputs are as many.

        Raises:
            BundleError: not such a file, or samples that do not fit `spec`.
        """
        with reading(path), zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > LARGEST:
                raise BundleError(f"`{path}` unpacks to {size / 2**30:.1f} GiB; expected at most {LARGEST / 2**30:.0f}")
            with archive.open("x.npy") as stream:
                shape, _ = read_header(stream)
            with np.load(path, allow_pickle=False) as file:
                y = file["y"]
                partner = file["partner"] if "partner" in file.files else None
        if not shape or y.shape != shape[:1] or not np.issubdtype(y.dtype, np.integer):
            raise BundleError(f"`{path}` holds samples {shape} with labels {y.shape}; expected one label a sample")
        if partner is not None:
            norms = np.linalg.norm(partner, axis=-1)
            if partner.ndim != 2 or len(partner) != len(y) or not np.allclose(norms, 1, atol=1e-3):
                raise BundleError(f"`{path}` holds partners {partner.shape}; expected ({len(y)}, d) of unit norm")
            partner = partner.astype(np.float32)
        return cls(path, spec, y.astype(np.int64), partner)

    def blocks(self, size: int, n: int) -> Iterator[Probe]:
        """The first `n` samples, `size` at a time.

        Raises:
            BundleError: the file is damaged, or was replaced by one with other samples.
            InputError: inputs that do not fit the spec.
        """
        with reading(self.path), zipfile.ZipFile(self.path) as archive, archive.open("x.npy") as stream:
            shape, dtype = read_header(stream)
            width = math.prod(shape[1:]) * dtype.itemsize
            for start in range(0, n, size):
                rows = slice(start, min(start + size, n))
                count = rows.stop - start
                content = stream.read(count * width)
                if len(content) != count * width:
                    raise BundleError(f"`{self.path}` ends after {start} of {n} samples")
                x = np.frombuffer(content, dtype).reshape(count, *shape[1:])
                x = from_levels(x, self.spec) if dtype in LEVELS else x
                yield Probe(self.spec.check(x), self.y[rows], None if self.partner is None else self.partner[rows])


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a damaged archive raises, as one error.

    Raises:
        BundleError: the file cannot be read.
    """
    try:
        yield
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BundleError(f"`{path}` holds no samples: {error}") from error


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of an npy stream, which is left at its first number.

    Raises:
        ValueError: no npy stream, one with objects, or one whose numbers do not lie row by row.
    """
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, columns_first, dtype = read(stream)
    if dtype.hasobject or (columns_first and len(shape) > 1):
        raise ValueError(f"an array {shape} of {dtype}; expected plain numbers, row by row")
    return shape, dtype


def from_levels(levels: NDArray[Any], spec: TensorSpec) -> NDArray[np.float32]:
    """Unsigned integers as float32 over the bounds, zero at the lower and the largest at the upper one."""
    low, width = np.float32(spec.bounds[0]), np.float32(spec.width)
    return (levels.astype(np.float32) / np.float32(np.iinfo(levels.dtype).max) * width + low).astype(np.float32)
