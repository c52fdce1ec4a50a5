"""Frozen semantic centers: one unit vector a class, against which every embedding is scored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from advcal_edge.errors import BundleError, InputError
from advcal_edge.threat import Array


@dataclass(frozen=True, slots=True, eq=False)
class Centers:
    """Class centers (k, d) of unit norm; scores are z C^T / temperature. Never trained."""

    labels: tuple[str, ...]
    vectors: NDArray[np.float32]
    temperature: float
    source: str

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or self.vectors.shape[0] != len(self.labels):
            raise InputError(f"centers are {self.vectors.shape}; expected ({len(self.labels)}, d), one row a label")
        if len(self.labels) < 2:
            raise InputError(f"found {len(self.labels)} class; expected at least two")
        if len(set(self.labels)) != len(self.labels):
            raise InputError("two centers carry the same label; labels must be unique")
        if not self.temperature > 0:
            raise InputError(f"temperature must be positive: {self.temperature:g}")
        norms = np.linalg.norm(self.vectors, axis=1)
        if not np.allclose(norms, 1.0, atol=1e-4):
            raise InputError(f"centers must have unit norm; found norms from {norms.min():g} to {norms.max():g}")

    @property
    def dim(self) -> int:
        """Width d of the embedding space."""
        return int(self.vectors.shape[1])

    def like(self, z: Array) -> Array:
        """The vectors in the library, dtype and place of `z`."""
        if is_numpy_array(z):
            return self.vectors
        return array_namespace(z).asarray(self.vectors, dtype=z.dtype, device=device(z))

    def scores(self, z: Array) -> Array:
        """Scores (n, k) of embeddings z (n, d)."""
        return (z @ self.like(z).T) / self.temperature

    def predict(self, z: Array) -> Array:
        """Index (n,) of the best center for each embedding; -1, which is no class, where an embedding is not finite."""
        xp = array_namespace(z)
        with np.errstate(invalid="ignore"):
            scores = self.scores(z)
        return xp.where(xp.all(xp.isfinite(scores), axis=-1), xp.argmax(scores, axis=-1), -1)

    def subset(self, labels: tuple[str, ...]) -> Centers:
        """Keep only `labels`, in that order.

        Raises:
            InputError: a label has no center.
        """
        missing = [label for label in labels if label not in self.labels]
        if missing:
            raise InputError(
                f"no center for {', '.join(f'`{m}`' for m in missing)}",
                hint=f"centers exist for: {', '.join(self.labels)}",
            )
        rows = [self.labels.index(label) for label in labels]
        return Centers(labels, self.vectors[rows], self.temperature, self.source)

    def to_bytes(self) -> bytes:
        """As a safetensors file; labels, temperature and source are in its metadata."""
        # one key: the order of several is random, and with it the hash of the file
        described = {"labels": list(self.labels), "temperature": self.temperature, "source": self.source}
        return save({"centers": np.ascontiguousarray(self.vectors)}, {"centers": json.dumps(described)})

    @classmethod
    def load(cls, path: Path) -> Centers:
        """Read a file that `to_bytes` wrote.

        Raises:
            BundleError: not safetensors, or its metadata lacks a field.
        """
        try:
            with safe_open(path, framework="np") as file:
                described = json.loads((file.metadata() or {})["centers"])
                return cls(
                    labels=tuple(str(label) for label in described["labels"]),
                    vectors=file.get_tensor("centers"),
                    temperature=float(described["temperature"]),
                    source=str(described["source"]),
                )
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise BundleError(f"`{path}` holds no centers: {error}") from error
