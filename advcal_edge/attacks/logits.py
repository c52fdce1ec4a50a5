"""Functions of scores (n, k) of which losses are made, each with its gradient in the scores."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace, device

from advcal_edge.threat import Array


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


def ratio(above: Array, numerator: Array, below: Array, denominator: Array) -> tuple[Array, Array]:
    """above / below (n,) and its gradient (n, k), from both values (n,) and both gradients (n, k)."""
    scale = array_namespace(below).clip(below, 1e-12, None)[:, None]
    return above / scale[:, 0], numerator / scale - (above[:, None] / scale**2) * denominator


def one_hot(index: Array, k: int, like: Array) -> Array:
    """Rows (n, k) with a single one, in the dtype of `like`; a comparison, so that it runs in every array library."""
    xp: Any = array_namespace(like)
    columns = xp.arange(k, device=device(like))
    return xp.astype(columns[None, :] == index[:, None], like.dtype)
