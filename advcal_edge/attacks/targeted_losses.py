"""Losses toward one wrong class: the r-th best wrong class of the sample's clean embedding, so no state is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from array_api_compat import array_namespace

from advcal_edge.attacks.logits import one_hot, ratio
from advcal_edge.attacks.losses import Loss
from advcal_edge.centers import Centers
from advcal_edge.errors import ConfigError
from advcal_edge.threat import Array


def targeted_margin(rank: int) -> Loss:
    """s_t - s_y, t the `rank`-th best wrong class when clean (from 1)."""

    def loss(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
        value, weights = gap_to_target(centers.smooth_scores(z), y, clean, centers, rank)
        return value, centers.slope(z, weights)

    return loss


def targeted_dlr(rank: int) -> Loss:
    """-(s_y - s_t) / (s_1 - (s_3 + s_4) / 2), s sorted (Croce and Hein 2020, eq. 7), t as above.

    The loss raises ConfigError where there are fewer than four classes: the denominator does not exist.
    """

    def loss(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
        k = len(centers.labels)
        if k < 4:
            raise ConfigError(f"the targeted DLR loss needs at least 4 classes; found {k}", hint='use `loss="margin"`')
        xp = array_namespace(z)
        scores = centers.smooth_scores(z)
        order = xp.argsort(scores, axis=-1)
        first, third, fourth = (one_hot(order[:, -place], k, z) for place in (1, 3, 4))
        span = first - (third + fourth) / 2
        above, numerator = gap_to_target(scores, y, clean, centers, rank)
        value, weights = ratio(above, numerator, xp.sum(scores * span, axis=-1), span)
        return value, centers.slope(z, weights)

    return loss


def gap_to_target(scores: Array, y: Array, clean: Array, centers: Centers, rank: int) -> tuple[Array, Array]:
    """The target's score minus the true one (n,), and its gradient (n, k) in the scores.

    Raises:
        ConfigError: there is no `rank`-th wrong class.
    """
    k = scores.shape[-1]
    if not 1 <= rank < k:
        raise ConfigError(f"there is no wrong class number {rank} among {k} classes; expected 1 to {k - 1}")
    xp = array_namespace(scores)
    true = one_hot(y, k, scores)
    before = xp.where(true > 0, -xp.inf, centers.scores(clean[: scores.shape[0]]))
    target = one_hot(xp.argsort(before, axis=-1)[:, -rank], k, scores)
    return xp.sum(scores * (target - true), axis=-1), target - true


TARGETED_LOSSES: Mapping[str, Callable[[int], Loss]] = {"dlr": targeted_dlr, "margin": targeted_margin}
