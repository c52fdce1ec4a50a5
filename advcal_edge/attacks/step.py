"""The direction of steepest ascent in a norm."""

from __future__ import annotations

from array_api_compat import array_namespace

from advcal_edge.threat import Array, Norm


def ascend(gradient: Array, norm: Norm) -> Array:
    """Unit step (n, ...) that increases the loss most: the sign for linf, the normalised gradient for l2."""
    xp = array_namespace(gradient)
    if norm == "linf":
        return xp.sign(gradient)
    axes = tuple(range(1, gradient.ndim))
    length = xp.sqrt(xp.sum(gradient * gradient, axis=axes, keepdims=True))
    return gradient / xp.clip(length, 1e-12, None)
