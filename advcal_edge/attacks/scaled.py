"""Losses on scores that are first brought to a range of their own, sample by sample, so that no softmax saturates.

Bind-style centers declare temperatures of 0.01 to 0.1. A softmax that sharp is one or zero to float precision for many
samples, and its gradient is nothing at all: an attack that follows it stands still and reports robustness.
"""

from __future__ import annotations

from collections.abc import Callable

from array_api_compat import array_namespace

from advcal_edge.attacks.logits import one_hot, probability, softmax_loss
from advcal_edge.centers import Centers
from advcal_edge.errors import ConfigError
from advcal_edge.threat import Array

OfScores = Callable[[Array, Array], tuple[Array, Array]]
"""From scores (n, k) and a one-hot target (n, k) to a value (n,) and its gradient (n, k) in the scores."""

RANGE = 10.0  # kappa: the distance between the best and the worst score after scaling


def scaled(
    function: Callable[[Array, Array], tuple[Array, Array]], scores: Array, target: Array, temperature: float
) -> tuple[Array, Array]:
    """f(s') for s' = kappa s / (max s - min s), and its gradient in s (n, k), through the scale as well.

    With w = df/ds' and r = max s - min s: df/ds = kappa w / r - kappa <w, s> / r^2 (onehot_max - onehot_min). Of two
    classes the scaled scores would always be kappa apart and f constant; there r is 2 / T, the farthest that scores of
    unit vectors can be apart.
    """
    xp = array_namespace(scores)
    k = scores.shape[-1]
    if k == 2:
        factor = RANGE * temperature / 2
        value, weights = function(scores * factor, target)
        return value, factor * weights
    ends = one_hot(xp.argmax(scores, axis=-1), k, scores) - one_hot(xp.argmin(scores, axis=-1), k, scores)
    factor = RANGE / xp.clip(xp.sum(scores * ends, axis=-1, keepdims=True), 1e-12, None)
    value, weights = function(scores * factor, target)
    along = xp.sum(weights * scores, axis=-1, keepdims=True)
    return value, factor * weights - factor**2 / RANGE * along * ends


def scaled_cross_entropy(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
    """-log softmax(s')_y, s' = 10 s / (max s - min s): cross-entropy whatever temperature the centers declare."""
    scores = centers.smooth_scores(z)
    value, weights = scaled(softmax_loss, scores, one_hot(y, len(centers.labels), z), centers.temperature)
    return value, centers.slope(z, weights)


def difference(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
    """p_reference(y) - p_engine(y) on pairs z = [z_engine, z_reference] (n, 2 d): DIVA (arXiv 2204.10933, c = 1).

    The paper's softmax saturates; here either one is taken of scaled scores.

    Raises:
        ConfigError: z is no pair.
    """
    d = centers.dim
    if z.shape[-1] != 2 * d:
        raise ConfigError(
            f"the loss `diva` needs pairs of embeddings, {2 * d} wide; found {z.shape[-1]}",
            hint="attack `difference_victim(engine, reference)`",
        )
    xp = array_namespace(z)
    target = one_hot(y, len(centers.labels), z)
    value, slopes = 0.0, []
    for half, sign in ((z[:, :d], -1.0), (z[:, d:], 1.0)):
        each, weights = scaled(probability, centers.smooth_scores(half), target, centers.temperature)
        value = value + sign * each
        slopes.append(sign * centers.slope(half, weights))
    return value, xp.concat(slopes, axis=-1)
