"""Where a search starts, and the direction of steepest ascent in a norm."""

from __future__ import annotations

import math

import numpy as np
from array_api_compat import array_namespace, device

from advcal_edge.threat import Array, Norm, ThreatModel


def ascend(gradient: Array, norm: Norm) -> Array:
    """Unit step (n, ...) that increases the loss most: the sign for linf, the normalised gradient for l2."""
    xp = array_namespace(gradient)
    if norm == "linf":
        return xp.sign(gradient)
    axes = tuple(range(1, gradient.ndim))
    length = xp.sqrt(xp.sum(gradient * gradient, axis=axes, keepdims=True))
    return gradient / xp.clip(length, 1e-12, None)


def random_start(rng: np.random.Generator, x: Array, threat: ThreatModel) -> Array:
    """A point drawn evenly from the ball around each of x (n, ...), then cut by the bounds."""
    xp, shape = array_namespace(x), tuple(x.shape)
    if threat.norm == "linf":
        noise = (rng.random(shape, dtype=np.float32) * 2 - 1) * np.float32(threat.radius)
    else:
        noise = rng.standard_normal(shape, dtype=np.float32)
        flat = noise.reshape(shape[0], math.prod(shape[1:]))
        # in d dimensions the share u^(1/d) of the radius encloses the share u of the ball
        reach = rng.random(shape[0], dtype=np.float32) ** np.float32(1 / flat.shape[1])
        flat *= (threat.radius * reach / np.maximum(np.linalg.norm(flat, axis=1), 1e-12))[:, None]
    return threat.project(x + xp.asarray(noise, device=device(x)), x)
