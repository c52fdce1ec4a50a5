"""What attacks maximise: functions of embeddings and centers, each with its gradient with respect to z in closed form.

Because dL/dz is written out here, one vector-Jacobian product of the encoder serves every loss, with or without torch.
All take z (n, d), y (n,), the clean embeddings (m, d) and the centers; all return values (n,) and dL/dz (n, d). The
first n clean embeddings belong to the samples of z; the others, of samples that have left the batch, stay negatives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from array_api_compat import array_namespace, device

from advcal_edge.attacks.logits import gap_to_wrong, one_hot, ratio, softmax_loss
from advcal_edge.attacks.scaled import difference, scaled_cross_entropy
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
    value, weights = ratio(*gap_to_wrong(scores, y), xp.sum(scores * span, axis=-1), span)
    return value, centers.slope(z, weights)


def cross_maximum(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
    """mean_{k != y} s_k - s_y: away from the true center toward all others at once, without hard negatives.

    Our reading of CrossMaxim, which arXiv 2505.11895v2 describes as a sweep that repels the representation from its
    ground truth; its formula is not public.
    """
    xp = array_namespace(z)
    true = one_hot(y, len(centers.labels), z)
    weights = (1 - true) / (len(centers.labels) - 1) - true
    return xp.sum(centers.smooth_scores(z) * weights, axis=-1), centers.slope(z, weights)


def push_from_clean(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
    """-<z, z_clean>: on the unit sphere half the squared distance to the clean embedding, up to a constant."""
    own = clean[: z.shape[0]]
    return -array_namespace(z).sum(z * own, axis=-1), -own


def info_nce(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
    """-log softmax(z Z_clean^T / tau)_i: make z_i look like another sample's clean embedding rather than its own."""
    xp = array_namespace(z)
    if clean.shape[0] == 0:  # the samples are the classes here, and a maximum over none is an error
        return xp.sum(z, axis=-1), z
    own = one_hot(xp.arange(z.shape[0], device=device(z)), clean.shape[0], z)
    value, weights = softmax_loss(z @ clean.T / INFO_NCE_TEMPERATURE, own)
    return value, weights @ clean / INFO_NCE_TEMPERATURE


LOSSES: Mapping[str, Loss] = {
    "ce": cross_entropy,
    "ce-scaled": scaled_cross_entropy,
    "margin": margin,
    "dlr": difference_of_logits_ratio,
    "crossmaxim": cross_maximum,
    "push": push_from_clean,
    "infonce": info_nce,
    "diva": difference,
}

NEED_CLEAN = frozenset({"push", "infonce"})
"""Losses that look at the clean embeddings; all others may be given none."""


def own_first(clean: Array, mask: Array) -> Array:
    """Clean embeddings (m, d): first those of the samples that `mask` (n,) keeps, then all others, as negatives."""
    n = mask.shape[0]
    return array_namespace(clean).concat((clean[:n][mask], clean[:n][~mask], clean[n:]), axis=0)
