"""Frozen semantic centers: one or several unit vectors per class, against which every embedding is scored."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray
from safetensors.numpy import save

from advcal_edge.errors import BundleError, InputError
from advcal_edge.tensors import Complaint, open_tensors
from advcal_edge.threat import Array

TEMPERATURE = 0.07  # without a text tower: the initial value of CLIP and ImageBind
NO_CENTERS = Complaint(
    BundleError, "holds no centers", "make them with `advcal-edge centers`, or take those of the bundle from its source"
)


@dataclass(frozen=True, slots=True, eq=False)
class Centers:
    """Class centers of unit norm, (k, d) or (k, c, d) with c centers per class. Never trained.

    Scores are z C^T / temperature; with several centers per class the nearest decides (UniBind, arXiv 2403.12532).
    """

    labels: tuple[str, ...]
    vectors: NDArray[np.float32]
    temperature: float
    source: str
    softness: float = 0.0
    """Softness of the maximum over a class's centers, used for gradients; at 0 only the nearest center counts."""
    _columns: NDArray[np.float32] = field(init=False, repr=False)
    """View (d, k * c) of the vectors, as `scores` multiplies them."""
    _doubles: list[NDArray[np.float64]] = field(init=False, repr=False, default_factory=list)
    """The same in float64 once `margins` needed it, so that no answer has to convert all centers."""

    def __post_init__(self) -> None:
        if self.vectors.ndim not in (2, 3) or self.vectors.shape[0] != len(self.labels) or 0 in self.vectors.shape:
            raise InputError(
                f"centers are {self.vectors.shape}; expected ({len(self.labels)}, d) or ({len(self.labels)}, c, d),"
                " one row a label"
            )
        if len(self.labels) < 2:
            raise InputError(f"found {len(self.labels)} class; expected at least two")
        if len(set(self.labels)) != len(self.labels):
            raise InputError("two centers carry the same label; labels must be unique")
        if not 0 < self.temperature < np.inf:
            raise InputError(f"temperature must be positive: {self.temperature:g}")
        if not 0 <= self.softness < np.inf:
            raise InputError(f"softness must be zero or positive: {self.softness:g}")
        object.__setattr__(self, "_columns", self.vectors.reshape(-1, self.dim).T)
        with np.errstate(over="ignore", invalid="ignore"):
            norms = np.linalg.norm(self.vectors, axis=-1)
        if not np.allclose(norms, 1.0, atol=1e-4):
            raise InputError(f"centers must have unit norm; found norms from {norms.min():g} to {norms.max():g}")

    @classmethod
    def one_hot(cls, labels: tuple[str, ...], temperature: float, source: str) -> Centers:
        """Centers for a classifier: the scores of logits z (n, k) of unit norm are z / temperature."""
        return cls(labels, np.eye(len(labels), dtype=np.float32), temperature, source)

    @property
    def dim(self) -> int:
        """Width d of the embedding space."""
        return int(self.vectors.shape[-1])

    @property
    def per_class(self) -> int:
        """Number of centers (c) per class."""
        return 1 if self.vectors.ndim == 2 else int(self.vectors.shape[1])

    def like(self, z: Array) -> Array:
        """All vectors (k * c, d) in the library, dtype and device of `z`."""
        flat = self.vectors.reshape(-1, self.dim)
        if isinstance(z, np.ndarray):
            return flat
        return array_namespace(z).asarray(flat, dtype=z.dtype, device=device(z))

    def scores(self, z: Array) -> Array:
        """Scores (n, k) of embeddings z (n, d); the nearest center of each class counts."""
        columns = self._columns if isinstance(z, np.ndarray) else self.like(z).T
        each = (z @ columns) / self.temperature
        return each if self.vectors.ndim == 2 else self._nearest(each)

    def smooth_scores(self, z: Array) -> Array:
        """`scores` for losses: softness * log mean_j exp(s_j / softness) over each class; `scores` if softness is 0."""
        if self.per_class == 1 or self.softness == 0:
            return self.scores(z)
        xp = array_namespace(z)
        each = self._grouped((z @ self.like(z).T) / self.temperature) / self.softness
        top = xp.max(each, axis=-1, keepdims=True)
        return self.softness * (xp.log(xp.mean(xp.exp(each - top), axis=-1)) + top[..., 0])

    def slope(self, z: Array, weights: Array) -> Array:
        """Gradient (n, d) of sum(weights * smooth_scores(z)) with respect to z, weights (n, k)."""
        vectors = self.like(z)
        if self.per_class == 1:
            return weights @ vectors / self.temperature
        xp = array_namespace(z)
        each = self._grouped((z @ vectors.T) / self.temperature)
        top = xp.max(each, axis=-1, keepdims=True)
        share = xp.astype(each >= top, z.dtype) if self.softness == 0 else xp.exp((each - top) / self.softness)
        share = share / xp.sum(share, axis=-1, keepdims=True)
        pull = xp.reshape(weights[..., None] * share, (z.shape[0], vectors.shape[0]))
        return pull @ vectors / self.temperature

    def _nearest(self, each: Array) -> Array:
        return array_namespace(each).max(self._grouped(each), axis=-1)

    def _grouped(self, each: Array) -> Array:
        return array_namespace(each).reshape(each, (each.shape[0], len(self.labels), self.per_class))

    def predict(self, z: Array) -> Array:
        """Index (n,) of the best center per embedding; -1, which is not a class, where an embedding is not finite."""
        xp = array_namespace(z)
        with np.errstate(invalid="ignore"):
            scores = self.scores(z)
        return xp.where(xp.all(xp.isfinite(scores), axis=-1), xp.argmax(scores, axis=-1), -1)

    def margins(self, z: NDArray[np.float32]) -> NDArray[np.float64]:
        """Decision margins (n,) of embeddings z (n, d): best score minus second best, in units of cosine.

        The temperature is left out, so that a threshold does not depend on it. The margin of an embedding that is not
        finite is 0.
        """
        with np.errstate(invalid="ignore"):
            each = (z.astype(np.float64) @ self._in_doubles()) / self.temperature
            scores = (each if self.vectors.ndim == 2 else self._nearest(each)) * self.temperature
        if math.isfinite(np.vdot(scores, scores)):  # one pass; squares that overflow take the long way
            scores.partition(-2, axis=1)
            leads: NDArray[np.float64] = scores[:, -1] - scores[:, -2]
            return leads
        best = np.partition(np.where(np.isfinite(scores), scores, -np.inf), -2, axis=1)[:, -2:]
        with np.errstate(invalid="ignore"):
            lead = best[:, 1] - best[:, 0]
        margins: NDArray[np.float64] = np.where(np.isfinite(scores).all(axis=1), lead, 0.0)
        return margins

    def _in_doubles(self) -> NDArray[np.float64]:
        if not self._doubles:  # as numpy converts a factor of a product: row by row
            self._doubles.append(np.ascontiguousarray(self._columns, np.float64))
        return self._doubles[0]

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
        return replace(self, labels=labels, vectors=self.vectors[rows])

    def to_bytes(self) -> bytes:
        """As a safetensors file; labels, temperature and source are in its metadata."""
        # a single key: the order of several is random, and would change the hash of the file
        described = {
            "labels": list(self.labels),
            "temperature": self.temperature,
            "source": self.source,
            "softness": self.softness,
        }
        return save({"centers": np.ascontiguousarray(self.vectors)}, {"centers": json.dumps(described)})

    @classmethod
    def load(cls, path: Path) -> Centers:
        """Read a file that `to_bytes` wrote.

        Raises:
            BundleError: not safetensors, metadata without a field, or invalid centers.
        """
        with open_tensors(path, "np", NO_CENTERS) as file:
            described, vectors = file.document("centers"), file.tensor("centers")
        labels, source = described.get("labels"), described.get("source")
        numbers = [described.get("temperature"), described.get("softness", 0.0)]
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise NO_CENTERS.of(path, "its labels are no list of texts")
        if not isinstance(source, str) or not all(type(number) in (int, float) for number in numbers):
            raise NO_CENTERS.of(path, "expected a text for `source`, numbers for `temperature` and `softness`")
        if vectors.dtype != np.float32:
            raise NO_CENTERS.of(path, f"they are {vectors.dtype}; expected float32")
        try:
            return cls(tuple(labels), vectors, float(numbers[0]), source, float(numbers[1]))
        except InputError as error:
            raise NO_CENTERS.of(path, error.message) from error


def class_means(z: NDArray[np.float32], y: NDArray[np.int64], names: tuple[str, ...]) -> Centers:
    """Unit-norm means (k, d) of the unit-norm embeddings z (n, d) of each class.

    Raises:
        InputError: a class whose embeddings cancel out or are not finite.
    """
    means = np.stack([z[y == label].mean(axis=0) for label in range(len(names))])
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    for name, norm in zip(names, norms[:, 0], strict=True):
        if not norm > 1e-6:
            raise InputError(f"the embeddings of the class `{name}` have a mean of norm {norm:g}; expected above zero")
    vectors = (means / norms).astype(np.float32)
    return Centers(names, vectors, TEMPERATURE, f"class means of {len(z)} training samples")
