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
    """-log softmax(z C^T / T)_y; gradient (softmax - onehot_y) C / T."""
    vectors = centers.like(z)
    return softmax_loss(centers.scores(z), one_hot(y, vectors.shape[0], z), vectors, centers.temperature)


def margin(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
    """Best wrong score minus the true one (Carlini and Wagner 2017): positive exactly when the label is wrong."""
    xp = array_namespace(z)
    scores, vectors = centers.scores(z), centers.like(z)
    true = one_hot(y, vectors.shape[0], z)
    other = one_hot(xp.argmax(xp.where(true > 0, -xp.inf, scores), axis=-1), vectors.shape[0], z)
    return xp.sum(scores * (other - true), axis=-1), (other - true) @ vectors / centers.temperature


def difference_of_logits_ratio(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
    """-(s_y - max_{k != y} s_k) / (s_1 - s_3), s sorted: blind to the scale of the scores (Croce and Hein 2020, eq. 6).

    Raises:
        ConfigError: fewer than three classes; the denominator does not exist.
    """
    k = len(centers.labels)
    if k < 3:
        raise ConfigError(f"the DLR loss needs at least 3 classes; found {k}", hint="use `--losses ce,margin`")
    xp = array_namespace(z)
    scores, vectors = centers.scores(z), centers.like(z)
    order = xp.argsort(scores, axis=-1)
    first, third = one_hot(order[:, -1], k, z), one_hot(order[:, -3], k, z)
    gap = xp.sum(scores * (first - third), axis=-1)
    scale = xp.clip(gap, 1e-12, None)[:, None]
    value, slope = margin(z, y, clean, centers)
    return value / scale[:, 0], slope / scale - (value[:, None] / scale**2) * (
        (first - third) @ vectors
    ) / centers.temperature


def push_from_clean(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
    """-<z, z_clean>: on the unit sphere half the squared distance to the clean embedding, up to a constant."""
    xp = array_namespace(z)
    return -xp.sum(z * clean, axis=-1), -clean


def info_nce(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
    """-log softmax(z Z_clean^T / tau)_i: make z_i look like another sample's clean embedding rather than its own."""
    xp = array_namespace(z)
    own = one_hot(xp.arange(z.shape[0], device=device(z)), z.shape[0], z)
    return softmax_loss(z @ clean.T / INFO_NCE_TEMPERATURE, own, clean, INFO_NCE_TEMPERATURE)


LOSSES: Mapping[str, Loss] = {
    "ce": cross_entropy,
    "margin": margin,
    "dlr": difference_of_logits_ratio,
    "push": push_from_clean,
    "infonce": info_nce,
}


def softmax_loss(scores: Array, target: Array, vectors: Array, temperature: float) -> tuple[Array, Array]:
    """Cross-entropy of `scores` (n, k) against one-hot `target`, with its gradient through scores = z V^T / T."""
    xp = array_namespace(scores)
    shifted = scores - xp.max(scores, axis=-1, keepdims=True)
    exponential = xp.exp(shifted)
    total = xp.sum(exponential, axis=-1, keepdims=True)
    value = xp.log(total[:, 0]) - xp.sum(shifted * target, axis=-1)
    return value, (exponential / total - target) @ vectors / temperature


def one_hot(index: Array, k: int, like: Array) -> Array:
    """Rows (n, k) with a single one, in the dtype of `like`; a comparison, so that it runs in every array library."""
    xp: Any = array_namespace(like)
    columns = xp.arange(k, device=device(like))
    return xp.astype(columns[None, :] == index[:, None], like.dtype)
