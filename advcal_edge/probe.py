"""Labelled samples kept in a bundle: preprocessed, in physical bounds, to be attacked or to calibrate quantisers."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import BundleError
from advcal_edge.spec import TensorSpec

LARGEST = 4 * 2**30  # bytes unpacked; a small file from elsewhere may claim any size


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Inputs x (n, ...) float32 within the spec's bounds, and their class indices y (n,)."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def head(self, n: int) -> Probe:
        """The first `n` samples; the order on disk is already shuffled over classes."""
        return Probe(self.x[:n], self.y[:n])

    def to_bytes(self, spec: TensorSpec) -> bytes:
        """As npz without pickle; samples that lie on an 8-bit grid over the bounds are stored as bytes."""
        levels = np.rint((self.x - spec.bounds[0]) / np.float32(spec.width) * 255).astype(np.uint8)
        stored: NDArray[np.uint8] | NDArray[np.float32] = levels
        if not np.array_equal(from_levels(levels, spec), self.x):
            stored = self.x
        buffer = io.BytesIO()
        np.savez_compressed(buffer, x=stored, y=self.y)
        return buffer.getvalue()

    @classmethod
    def load(cls, path: Path, spec: TensorSpec) -> Probe:
        """Read what `to_bytes` wrote.

        Raises:
            BundleError: not such a file, or samples that do not fit `spec`.
        """
        try:
            content = io.BytesIO(path.read_bytes())
            size = sum(member.file_size for member in zipfile.ZipFile(content).infolist())
            if size > LARGEST:
                raise BundleError(f"`{path}` unpacks to {size / 2**30:.1f} GiB; expected at most {LARGEST / 2**30:.0f}")
            with np.load(content, allow_pickle=False) as file:
                x, y = file["x"], file["y"]
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise BundleError(f"`{path}` holds no samples: {error}") from error
        if x.dtype == np.uint8:
            x = from_levels(x, spec)
        if x.ndim == 0 or y.shape != x.shape[:1] or not np.issubdtype(y.dtype, np.integer):
            raise BundleError(f"`{path}` holds samples {x.shape} with labels {y.shape}; expected one label a sample")
        return cls(spec.check(x), y.astype(np.int64))


def from_levels(levels: NDArray[np.uint8], spec: TensorSpec) -> NDArray[np.float32]:
    """Bytes 0 to 255 as float32 over the bounds."""
    low, width = np.float32(spec.bounds[0]), np.float32(spec.width)
    return (levels.astype(np.float32) / np.float32(255) * width + low).astype(np.float32)
