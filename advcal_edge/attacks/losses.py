"""Losses that attacks maximise: functions of embeddings and centers, each with its gradient in z in closed form.

Because dL/dz is explicit, one vector-Jacobian product of the encoder serves every loss, with or without torch. All
losses take z (n, d), y (n,), the clean embeddings (m, d) and the centers; all return values (n,) and dL/dz (n, d).
The first n clean embeddings belong to the samples of z; the others, of samples no longer in the batch, stay negatives.

Bind-style centers declare temperatures of 0.01 to 0.1. A softmax that sharp is one or zero to float precision for many
samples, so its gradient is zero: an attack that follows it does not move, and reports robustness. Losses on scaled
scores first bring the scores of each sample to a fixed range.
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
RANGE = 10.0  # kappa: the distance between the best and the worst score after scaling


def cross_entropy(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
    """-log softmax(s)_y with s = z C^T / T; gradient (softmax - onehot_y) C / T."""
    scores = centers.smooth_scores(z)
    value, weights = softmax_loss(scores, one_hot(y, len(centers.labels), z))
    return value, centers.slope(z, weights)


def margin(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
    """Best wrong score minus the true one (Carlini and Wagner 2017): positive exactly when the label is wrong."""
    value, weights = gap_to_wrong(centers.smooth_scores(z), y)
    return value, centers.slope(z, weights)


def selective(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
    """s_w - max_{k != w} s_k, w the best wrong class: how sure a wrong answer is, for models that may abstain.

    Ours: the decision margin of a wrong answer. A rule compares it that accepts an answer only where the best score
    leads the second by more than a threshold (selective classification, El-Yaniv and Wiener 2010, JMLR 11:1605). Where
    the label is right it equals `margin`. Where it is wrong, `margin` (Carlini and Wagner 2017) and DLR (Croce and Hein
    2020) go on to lower the true score, while the runner-up may be another wrong class: the answer then grows more
    wrong, but not more sure. With two classes it is `margin` everywhere.
    """
    xp = array_namespace(z)
    scores = centers.smooth_scores(z)
    k = scores.shape[-1]
    wrong = one_hot(xp.argmax(xp.where(one_hot(y, k, scores) > 0, -xp.inf, scores), axis=-1), k, scores)
    value, weights = lead_of(wrong, scores)
    return value, centers.slope(z, weights)


def difference_of_logits_ratio(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
    """-(s_y - max_{k != y} s_k) / (s_1 - s_3), s sorted: invariant to the scale of scores (Croce and Hein 2020, eq. 6).

    Raises:
        ConfigError: fewer than three classes, so that the denominator does not exist.
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
    """-log softmax(z Z_clean^T / tau)_i: make z_i look like another sample's clean embedding instead of its own."""
    xp = array_namespace(z)
    if clean.shape[0] == 0:  # the samples are the classes here, and a maximum over none is an error
        return xp.sum(z, axis=-1), z
    own = one_hot(xp.arange(z.shape[0], device=device(z)), clean.shape[0], z)
    value, weights = softmax_loss(z @ clean.T / INFO_NCE_TEMPERATURE, own)
    return value, weights @ clean / INFO_NCE_TEMPERATURE


def scaled_cross_entropy(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
    """-log softmax(s')_y, s' = 10 s / (max s - min s): cross-entropy independent of the declared temperature."""
    scores = centers.smooth_scores(z)
    value, weights = scaled(softmax_loss, scores, one_hot(y, len(centers.labels), z), centers.temperature)
    return value, centers.slope(z, weights)


def difference(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
    """p_reference(y) - p_engine(y) on pairs z = [z_engine, z_reference] (n, 2 d): DIVA (arXiv 2204.10933, c = 1).

    The paper's softmax saturates; here both are computed on scaled scores.

    Raises:
        ConfigError: z does not hold pairs.
    """
    d = centers.dim
    if z.shape[-1] != 2 * d:
        raise ConfigError(
            f"the loss `diva` needs pairs of embeddings, {2 * d} wide; found {z.shape[-1]}",
            hint="attack `difference_model(engine, reference)`",
        )
    xp = array_namespace(z)
    target = one_hot(y, len(centers.labels), z)
    value, slopes = 0.0, []
    for half, sign in ((z[:, :d], -1.0), (z[:, d:], 1.0)):
        each, weights = scaled(probability, centers.smooth_scores(half), target, centers.temperature)
        value = value + sign * each
        slopes.append(sign * centers.slope(half, weights))
    return value, xp.concat(slopes, axis=-1)


LOSSES: Mapping[str, Loss] = {
    "ce": cross_entropy,
    "ce-scaled": scaled_cross_entropy,
    "margin": margin,
    "selective": selective,
    "dlr": difference_of_logits_ratio,
    "crossmaxim": cross_maximum,
    "push": push_from_clean,
    "infonce": info_nce,
    "diva": difference,
}

NEED_CLEAN = frozenset({"push", "infonce"})
"""Losses that need the clean embeddings; all others also accept None."""


def targeted_margin(rank: int) -> Loss:
    """s_t - s_y, t the `rank`-th best wrong class when clean (from 1)."""

    def loss(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
        value, weights = gap_to_target(centers.smooth_scores(z), y, clean, centers, rank)
        return value, centers.slope(z, weights)

    return loss


def targeted_selective(rank: int) -> Loss:
    """s_t - max_{k != t} s_k, t as above: the decision margin of one wrong answer, see `selective`."""

    def loss(z: Array, y: Array, clean: Array, centers: Centers) -> tuple[Array, Array]:
        scores = centers.smooth_scores(z)
        target, _ = target_of(scores, y, clean, centers, rank)
        value, weights = lead_of(target, scores)
        return value, centers.slope(z, weights)

    return loss


def targeted_dlr(rank: int) -> Loss:
    """-(s_y - s_t) / (s_1 - (s_3 + s_4) / 2), s sorted (Croce and Hein 2020, eq. 7), t as above.

    The loss raises ConfigError for fewer than four classes, since the denominator does not exist.
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
    target, true = target_of(scores, y, clean, centers, rank)
    return array_namespace(scores).sum(scores * (target - true), axis=-1), target - true


def target_of(scores: Array, y: Array, clean: Array, centers: Centers, rank: int) -> tuple[Array, Array]:
    """One-hot (n, k): the `rank`-th best wrong class of the clean embeddings, and the true class.

    Raises:
        ConfigError: there is no `rank`-th wrong class.
    """
    k = scores.shape[-1]
    if not 1 <= rank < k:
        raise ConfigError(f"there is no wrong class number {rank} among {k} classes; expected 1 to {k - 1}")
    xp = array_namespace(scores)
    true = one_hot(y, k, scores)
    before = xp.where(true > 0, -xp.inf, centers.scores(clean[: scores.shape[0]]))
    return one_hot(xp.argsort(before, axis=-1)[:, -rank], k, scores), true


TARGETED_LOSSES: Mapping[str, Callable[[int], Loss]] = {
    "dlr": targeted_dlr,
    "margin": targeted_margin,
    "selective": targeted_selective,
}
"""Losses toward the r-th best wrong class of the clean embedding, by name: rank -> loss."""


def own_first(clean: Array, mask: Array) -> Array:
    """Clean embeddings (m, d): first those of the samples that `mask` (n,) keeps, then the others as negatives."""
    n = mask.shape[0]
    return array_namespace(clean).concat((clean[:n][mask], clean[:n][~mask], clean[n:]), axis=0)


def scaled(
    function: Callable[[Array, Array], tuple[Array, Array]], scores: Array, target: Array, temperature: float
) -> tuple[Array, Array]:
    """f(s') for s' = kappa s / (max s - min s), and its gradient in s (n, k), including the derivative of the scale.

    With w = df/ds' and r = max s - min s: df/ds = kappa w / r - kappa <w, s> / r^2 (onehot_max - onehot_min). For two
    classes the scaled scores would always be kappa apart and f constant; r is then 2 / T, the largest distance between
    scores of unit vectors.
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


def softmax_loss(scores: Array, target: Array) -> tuple[Array, Array]:
    """Cross-entropy (n,) of `scores` (n, k) against one-hot `target`, and its gradient (n, k) in the scores."""
    xp = array_namespace(scores)
    shifted = scores - xp.max(scores, axis=-1, keepdims=True)
    exponential = xp.exp(shifted)
    total = xp.sum(exponential, axis=-1, keepdims=True)
    value = xp.log(total[:, 0]) - xp.sum(shifted * target, axis=-1)
    return value, exponential / total - target


def probability(scores: Array, target: Array) -> tuple[Array, Array]:
    """softmax(s)_y (n,) for one-hot `target` (n, k), and its gradient p_y (onehot_y - p) (n, k) in the scores."""
    xp = array_namespace(scores)
    exponential = xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))
    share = exponential / xp.sum(exponential, axis=-1, keepdims=True)
    value = xp.sum(share * target, axis=-1)
    return value, value[:, None] * (target - share)


def gap_to_wrong(scores: Array, y: Array) -> tuple[Array, Array]:
    """Best wrong score minus the true one (n,), and its gradient (n, k) in the scores."""
    xp = array_namespace(scores)
    true = one_hot(y, scores.shape[-1], scores)
    wrong = one_hot(xp.argmax(xp.where(true > 0, -xp.inf, scores), axis=-1), scores.shape[-1], scores)
    return xp.sum(scores * (wrong - true), axis=-1), wrong - true


def lead_of(chosen: Array, scores: Array) -> tuple[Array, Array]:
    """The score of the `chosen` class, one-hot (n, k), minus the best other one (n,), and its gradient (n, k)."""
    xp = array_namespace(scores)
    other = one_hot(xp.argmax(xp.where(chosen > 0, -xp.inf, scores), axis=-1), scores.shape[-1], scores)
    return xp.sum(scores * (chosen - other), axis=-1), chosen - other


def ratio(above: Array, numerator: Array, below: Array, denominator: Array) -> tuple[Array, Array]:
    """above / below (n,) and its gradient (n, k), from both values (n,) and both gradients (n, k)."""
    scale = array_namespace(below).clip(below, 1e-12, None)[:, None]
    return above / scale[:, 0], numerator / scale - (above[:, None] / scale**2) * denominator


def one_hot(index: Array, k: int, like: Array) -> Array:
    """Rows (n, k) with a single one, in the dtype of `like`; uses a comparison, which every array library supports."""
    xp: Any = array_namespace(like)
    columns = xp.arange(k, device=device(like))
    return xp.astype(columns[None, :] == index[:, None], like.dtype)
