"""Where a search starts, and the direction of steepest ascent in a norm."""

from __future__ import annotations

import math

import numpy as np
from array_api_compat import array_namespace, device

from advcal_edge.threat import Array, Norm, ThreatModel


def ascend(gradient: Array, norm: Norm) -> Array:
    """Unit step (n, ...) that increases the loss most: the sign for linf, the normalised gradient for l2."""
    if norm == "linf":
        # the library's own: the array API's, which torch has not, tells NaN apart and takes five times as long
        return array_namespace(gradient, use_compat=False).sign(gradient)
    xp = array_namespace(gradient)
    axes = tuple(range(1, gradient.ndim))
    length = xp.sqrt(xp.sum(gradient * gradient, axis=axes, keepdims=True))
    return gradient / xp.clip(length, 1e-12, None)


def random_start(rng: np.random.Generator, x: Array, threat: ThreatModel) -> Array:
    """A point in the ball around each of x (n, ...), cut by the bounds: any with equal chance in linf.

    In l2 direction and distance are drawn evenly: nearly all of a ball of many dimensions lies at its surface, where a
    random direction would have used up the radius.
    """
    if threat.norm == "linf":
        return threat.project(x + draw_uniform(rng, x, -threat.radius, threat.radius), x)
    n = x.shape[0]
    noise = rng.standard_normal((n, math.prod(x.shape[1:])))
    noise *= threat.radius * (rng.random(n) / np.linalg.norm(noise, axis=1))[:, None]
    start = noise.reshape(tuple(x.shape)).astype(np.float32)
    return threat.project(x + array_namespace(x).asarray(start, device=device(x)), x)


def draw_uniform(rng: np.random.Generator, like: Array, low: float, high: float) -> Array:
    """Uniform noise from a numpy generator, in the library, dtype and place of `like`."""
    noise = rng.uniform(low, high, size=tuple(like.shape)).astype(np.float32)
    return array_namespace(like).asarray(noise, device=device(like))
