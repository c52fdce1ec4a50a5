"""Ranking: the rank of the true label, and of a sample's partner among the samples of another sensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.centers import Centers
from advcal_edge.stats import clopper_pearson, wilson

DEPTHS = (1, 5, 10)
"""The k of recall at k."""

TOP = 5
"""Targeted attacks that take only the first place leave the ranking intact; top-5 next to top-1 shows this."""

TEMPERATURE = 0.07
"""Temperature of scores between a sample and a gallery: ImageBind's; it also scales the losses of attacks."""

GALLERY = 1000
"""Samples at most among which nearest neighbours are looked for: their similarities are in memory all at once."""

TIE = 0.02
"""Cosine by which a neighbour may be farther than the nearest and still do as well; int8 moves cosines by as much."""

Rank = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Recall:
    """Rank (n,) of each sample's partner in the gallery, and of each partner's sample; 0 is the first place."""

    forward: Rank
    backward: Rank

    @property
    def n(self) -> int:
        """Number of pairs."""
        return len(self.forward)

    def to_json(self) -> dict[str, Any]:
        """Per direction and k: hits, share, 95 % Wilson interval."""
        directions: Mapping[str, Rank] = {"forward": self.forward, "backward": self.backward}
        return {name: {f"recall@{k}": share(ranks < k) for k in DEPTHS} for name, ranks in directions.items()}


def share(hits: NDArray[np.bool_]) -> dict[str, Any]:
    """Count, fraction and both intervals (Wilson; Clopper and Pearson) of hits (n,)."""
    count, n = int(hits.sum()), len(hits)
    return {
        "hits": count,
        "n": n,
        "accuracy": count / n,
        "interval": wilson(count, n).to_json(),
        "exact": clopper_pearson(count, n).to_json(),
    }


def recall(z: NDArray[np.float32], partner: NDArray[np.float32]) -> Recall:
    """Ranks in both directions between embeddings z (n, d) and those of their partners (n, d), row i with row i.

    A tie counts as lost, and an embedding that is not finite gets the last place.
    """
    return recall_in_blocks(lambda: iter([z]), partner)


def recall_in_blocks(
    read: Callable[[], Iterator[NDArray[np.float32]]], partner: NDArray[np.float32], first: int = 0
) -> Recall:
    """`recall` of embeddings that `read` yields block by block on each call: (n, n) is never in memory.

    They are those of the samples from `first` on; there may be fewer than partners, and ranks are theirs alone.
    """
    n = len(partner)
    own, finite = np.full(n, -np.inf, np.float32), np.zeros(n, np.bool_)
    forward, backward = np.full(n, n - 1, np.int64), np.full(n, -1, np.int64)
    start = first
    for z in read():
        rows = slice(start, start + len(z))
        similarity, finite[rows] = compare(z, partner)
        own[rows] = similarity[np.arange(len(z)), np.arange(start, rows.stop)]
        forward[rows] = (similarity >= own[rows, None]).sum(axis=1) - 1
        start = rows.stop
    for z in read():
        backward += (compare(z, partner)[0] >= own[None, :]).sum(axis=0)
    there = slice(first, start)
    finite, forward, backward = finite[there], forward[there], backward[there]
    return Recall(np.where(finite, forward, n - 1), np.where(finite, backward, start - first - 1))


def compare(z: NDArray[np.float32], partner: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Similarity (m, n), the lowest where z (m, d) is not finite, and where (m,) it is finite."""
    finite = np.asarray(np.isfinite(z).all(axis=1))
    similarity = np.where(finite[:, None], np.where(np.isfinite(z), z, 0) @ partner.T, np.float32(-np.inf))
    return similarity, finite


def neighbour_places(z: NDArray[np.float32], other: NDArray[np.float32]) -> Rank:
    """Place (n,) of each sample's nearest neighbour if embeddings `other` (n, d) search among z (n, d); 0 is the first.

    The nearest neighbour is that by z, and the sample itself is no neighbour. Samples that z holds nearly as near, by
    less than `TIE`, do not count before it. An embedding that is not finite gets the last place.
    """
    n = len(z)
    own, found = np.asarray(z @ z.T), compare(other, z)
    np.fill_diagonal(own, -np.inf)
    nearest = own.max(axis=1, keepdims=True)
    similarity = np.take_along_axis(found[0], own.argmax(axis=1)[:, None], axis=1)
    before: NDArray[np.bool_] = (found[0] >= similarity) & (own < nearest - TIE)
    np.fill_diagonal(before, False)
    return np.where(found[1], before.sum(axis=1), n - 1).astype(np.int64)


def gallery(partner: NDArray[np.float32]) -> Centers:
    """The partners (n, d) as centers, one class each, so that finding a partner is a classification."""
    return Centers(tuple(str(row) for row in range(len(partner))), partner, TEMPERATURE, "paired samples")


def label_rank(centers: Centers, z: NDArray[np.float32], y: NDArray[np.int64]) -> Rank:
    """Rank (n,) of the true class y (n,) among the labels for embeddings z (n, d); 0 where the label is right.

    Rank 0 is exactly what `Centers.predict` gets right; an embedding that is not finite gets the last place.
    """
    with np.errstate(invalid="ignore"):
        scores = centers.scores(z)
    own = np.take_along_axis(scores, y[:, None], axis=1)
    earlier = np.arange(scores.shape[1])[None, :] < y[:, None]  # with equal scores the first label wins
    rank: Rank = ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
    return np.where(np.isfinite(scores).all(axis=1), rank, scores.shape[1] - 1)
