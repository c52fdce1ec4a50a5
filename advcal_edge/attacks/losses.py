"""What attacks maximise: functions of embeddings and centers, each with its gradient with respect to z in closed form.

Because dL/dz is written out here, one vector-Jacobian product of the encoder serves every loss, with or without torch.
All take z (n, d), y (n,), the clean embeddings (n, d) and the centers; all return values (n,) and dL/dz (n, d).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from array_api_compat import array_namespace, device

from advcal_edge.centers import Centers
from advcal_edge.errors import ConfigError
from advcal_edge.threat import Array

Loss = Callable[[Array, Array, Array, Centers], tuple[Array, Array]]
INFO_NCE_TEMPERATURE = 0.07


def cross_entropy(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
    """-log softmax(s)_y with s = z C^T / T; gradient (softmax - onehot_y) C / T."""
    scores = centers.smooth_scores(z)
    value, weights = softmax_loss(scores, one_hot(y, len(centers.labels), z))
    return value, centers.slope(z, weights)


def margin(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
    """Best wrong score minus the true one (Carlini and Wagner 2017): positive exactly when the label is wrong."""
    value, weights = gap_to_wrong(centers.smooth_scores(z), y)
    return value, centers.slope(z, weights)


def difference_of_logits_ratio(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
    """-(s_y - max_{k != y} s_k) / (s_1 - s_3), s sorted: blind to the scale of the scores (Croce and Hein 2020, eq. 6).

    Raises:
        ConfigError: fewer than three classes; the denominator does not exist.
    """
    k = len(centers.labels)
    if k < 3:
        raise ConfigError(f"the DLR loss needs at least 3 classes; found {k}", hint="use `--losses ce,margin`")
    xp = array_namespace(z)
    scores = centers.smooth_scores(z)
    order = xp.argsort(scores, axis=-1)
    span = one_hot(order[:, -1], k, z) - one_hot(order[:, -3], k, z)
    scale = xp.clip(xp.sum(scores * span, axis=-1), 1e-12, None)[:, None]
    value, weights = gap_to_wrong(scores, y)
    return value / scale[:, 0], centers.slope(z, weights / scale - (value[:, None] / scale**2) * span)


def push_from_clean(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
    """-<z, z_clean>: on the unit sphere half the squared distance to the clean embedding, up to a constant."""
    xp = array_namespace(z)
    return -xp.sum(z * clean, axis=-1), -clean


def info_nce(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
    """-log softmax(z Z_clean^T / tau)_i: make z_i look like another sample's clean embedding rather than its own."""
    xp = array_namespace(z)
    own = one_hot(xp.arange(z.shape[0], device=device(z)), z.shape[0], z)
    value, weights = softmax_loss(z @ clean.T / INFO_NCE_TEMPERATURE, own)
    return value, weights @ clean / INFO_NCE_TEMPERATURE


LOSSES: Mapping[str, Loss] = {
    "ce": cross_entropy,
    "margin": margin,
    "dlr": difference_of_logits_ratio,
    "push": push_from_clean,
    "infonce": info_nce,
}


def softmax_loss(scores: Array, target: Array) -> tuple[Array, Array]:
    """Cross-entropy (n,) of `scores` (n, k) against one-hot `target`, and its gradient (n, k) in the scores."""
    xp = array_namespace(scores)
    shifted = scores - xp.max(scores, axis=-1, keepdims=True)
    exponential = xp.exp(shifted)
    total = xp.sum(exponential, axis=-1, keepdims=True)
    value = xp.log(total[:, 0]) - xp.sum(shifted * target, axis=-1)
    return value, exponential / total - target


def gap_to_wrong(scores: Array, y: Array) -> tuple[Array, Array]:
    """Best wrong score minus the true one (n,), and its gradient (n, k) in the scores."""
    xp = array_namespace(scores)
    true = one_hot(y, scores.shape[-1], scores)
    wrong = one_hot(xp.argmax(xp.where(true > 0, -xp.inf, scores), axis=-1), scores.shape[-1], scores)
    return xp.sum(scores * (wrong - true), axis=-1), wrong - true


def one_hot(index: Array, k: int, like: Array) -> Array:
    """Rows (n, k) with a single one, in the dtype of `like`; a comparison, so that it runs in every array library."""
    xp: Any = array_namespace(like)
    columns = xp.arange(k, device=device(like))
    return xp.astype(columns[None, :] == index[:, None], like.dtype)
