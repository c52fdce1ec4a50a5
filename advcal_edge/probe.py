"""Labelled samples kept in a bundle: preprocessed, in physical bounds, to be attacked or to calibrate quantisers."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
                partner = file["partner"] if "partner" in file.files else None
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise BundleError(f"`{path}` holds no samples: {error}") from error
        if x.dtype in LEVELS:
            x = from_levels(x, spec)
        if x.ndim == 0 or y.shape != x.shape[:1] or not np.issubdtype(y.dtype, np.integer):
            raise BundleError(f"`{path}` holds samples {x.shape} with labels {y.shape}; expected one label a sample")
        if partner is not None:
            norms = np.linalg.norm(partner, axis=-1)
            if partner.ndim != 2 or len(partner) != len(y) or not np.allclose(norms, 1, atol=1e-3):
                raise BundleError(f"`{path}` holds partners {partner.shape}; expected ({len(y)}, d) of unit norm")
            partner = partner.astype(np.float32)
        return cls(spec.check(x), y.astype(np.int64), partner)


def from_levels(levels: NDArray[Any], spec: TensorSpec) -> NDArray[np.float32]:
    """Unsigned integers as float32 over the bounds, zero at the lower and the largest at the upper one."""
    low, width = np.float32(spec.bounds[0]), np.float32(spec.width)
    return (levels.astype(np.float32) / np.float32(np.iinfo(levels.dtype).max) * width + low).astype(np.float32)
