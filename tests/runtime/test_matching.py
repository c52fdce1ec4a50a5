"""Labels, scores and sure answers have the bits of their plain formulas, whatever is done to save time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny import BundleMaker

from advcal_edge.centers import Centers
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.abstention import Abstention

RULE = Abstention(0.05, 0.05, 0.05, 0.5, 0.4)


def unit(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    vectors = rng.standard_normal(shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def plain_scores(centers: Centers, z: NDArray[np.floating]) -> NDArray[np.floating]:
    every = z @ centers.vectors.reshape(-1, centers.dim).T / centers.temperature
    return every.reshape(len(z), len(centers.labels), centers.per_class).max(axis=2)


def plain_margins(centers: Centers, z: NDArray[np.float32]) -> NDArray[np.float64]:
    ordered = np.sort(plain_scores(centers, z.astype(np.float64)) * centers.temperature, axis=1)
    return ordered[:, -1] - ordered[:, -2]


@pytest.mark.parametrize("n", [0, 1, 2, 33])
@pytest.mark.parametrize(
    ("labels", "per_class", "dim"), [(2, 1, 6), (4, 1, 6), (10, 1, 384), (9, 3, 17), (130, 1, 64), (1000, 2, 32)]
)
def test_bits_of_the_plain_formula(labels: int, per_class: int, dim: int, n: int, make_bundle: BundleMaker) -> None:
    rng = np.random.default_rng(labels + n)
    vectors = unit(rng, labels, per_class, dim) if per_class > 1 else unit(rng, labels, dim)
    vectors[1] = vectors[0]  # of equal scores the first label comes first
    centers = Centers(tuple(f"label {k}" for k in range(labels)), vectors, 0.07, "test")
    z = unit(rng, n, dim)
    scores = plain_scores(centers, z).astype(np.float64)
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares = odds / odds.sum(axis=1, keepdims=True)
    margins = plain_margins(centers, z)
    embedder = replace(Embedder.load(make_bundle().path), centers=centers)
    for rule in (None, RULE):
        found = replace(embedder, abstention=rule).match(z, 5)
        assert len(found) == n
        for row, share, margin in zip(found, shares, margins, strict=True):
            order = sorted(range(labels), key=lambda k, share=share: -share[k])[:5]  # type: ignore[misc]
            assert [match.label for match in row] == [centers.labels[k] for k in order]
            assert [match.score for match in row] == [share[k] for k in order]
            later = None if rule is None else False
            best = None if rule is None else bool(margin > RULE.threshold)
            assert [match.sure for match in row] == [best, *[later] * (len(order) - 1)]
    assert centers.margins(z).tobytes() == margins.tobytes()
    assert centers.margins(z).tobytes() == margins.tobytes(), "the second call uses what the first one kept"


def test_margins_of_what_is_not_finite_and_of_what_overflows() -> None:
    centers = Centers(("a", "b", "c"), np.eye(3, dtype=np.float32), 0.07, "test")
    z = np.array([[np.nan, 0, 0], [np.inf, 0, 0], [1, 0.25, 0]], np.float32)
    assert centers.margins(z).tolist() == [0, 0, 0.75]
    huge = np.array([[3e38, 1e38, 0]], np.float32)
    assert centers.margins(huge).tolist() == plain_margins(centers, huge).tolist()
