"""Ranking: which place the truth takes among the labels, and a sample's partner among the samples of another sensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.centers import Centers
from advcal_edge.stats import wilson

DEPTHS = (1, 5, 10)
"""The k of recall at k."""

TOP = 5
"""Targeted attacks leave the ranking intact where they take the first place only; top-5 beside top-1 shows it."""

TEMPERATURE = 0.07
"""Of scores between a sample and a gallery: ImageBind's, which losses of attacks are scaled by."""

Rank = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Recall:
    """Rank (n,) of each sample's partner among all n, and of each partner's sample; 0 is the first place."""

    forward: Rank
    backward: Rank

    @property
    def n(self) -> int:
        """Pairs, and so the size of both galleries."""
        return len(self.forward)

    def to_json(self) -> dict[str, Any]:
        """By direction and k: hits, share, 95 % Wilson interval."""
        directions: Mapping[str, Rank] = {"forward": self.forward, "backward": self.backward}
        return {name: {f"recall@{k}": share(ranks < k) for k in DEPTHS} for name, ranks in directions.items()}


def share(hits: NDArray[np.bool_]) -> dict[str, Any]:
    """Count, fraction and interval of hits (n,)."""
    count, n = int(hits.sum()), len(hits)
    return {"hits": count, "n": n, "accuracy": count / n, "interval": wilson(count, n).to_json()}


def recall(z: NDArray[np.float32], partner: NDArray[np.float32]) -> Recall:
    """Rank both ways between embeddings z (n, d) and those of their partners (n, d), row i belonging to row i.

    A tie counts as lost, and an embedding that is not finite takes the last place.
    """
    finite = np.asarray(np.isfinite(z).all(axis=1))
    similarity = np.where(finite[:, None], np.where(np.isfinite(z), z, 0) @ partner.T, -np.inf)
    own = similarity.diagonal()
    forward = (similarity >= own[:, None]).sum(axis=1) - 1
    backward = (similarity >= own[None, :]).sum(axis=0) - 1
    last = len(z) - 1
    return Recall(np.where(finite, forward, last), np.where(finite, backward, last))


def gallery(partner: NDArray[np.float32]) -> Centers:
    """The partners (n, d) as centers, a class each: finding one's partner is then a classification like any other."""
    return Centers(tuple(str(row) for row in range(len(partner))), partner, TEMPERATURE, "paired samples")


def label_rank(centers: Centers, z: NDArray[np.float32], y: NDArray[np.int64]) -> Rank:
    """Rank (n,) of the true class y (n,) among the labels for embeddings z (n, d); 0 where the label is right.

    Rank 0 is exactly what `Centers.predict` calls right; an embedding that is not finite takes the last place.
    """
    with np.errstate(invalid="ignore"):
        scores = centers.scores(z)
    own = np.take_along_axis(scores, y[:, None], axis=1)
    earlier = np.arange(scores.shape[1])[None, :] < y[:, None]  # of equal scores the first label wins
    rank: Rank = ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
    return np.where(np.isfinite(scores).all(axis=1), rank, scores.shape[1] - 1)
