"""UniBind's centre embeddings: the text embeddings nearest to each class, fifty of them as published."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from advcal_edge.centers import Centers
from advcal_edge.encoders.checkpoint import read_tensors
from advcal_edge.errors import InputError

SOFTNESS = 1.0
"""For losses a class is as likely as its centers together; with fewer than the most, its own are repeated in turn."""


def read_centre_embeddings(path: Path, embedding_dim: int, temperature: float) -> Centers:
    """Centers (k, c, d) of unit norm, classes in the order of their names, of a dictionary class -> tensor (c, d).

    Raises:
        InputError: unreadable, other shapes, a center without direction, or fewer than two classes.
    """
    classes = {label: tensor.numpy() for label, tensor in sorted(read_tensors(path, lambda _: True).items())}
    for label, vectors in classes.items():
        if vectors.ndim != 2 or vectors.shape[1] != embedding_dim or len(vectors) == 0 or vectors.dtype != np.float32:
            raise InputError(
                f"`{label}` in `{path}` is {vectors.dtype} {vectors.shape};"
                f" expected float32 (c, {embedding_dim}), a center a row"
            )
        lengths = np.linalg.norm(vectors, axis=1)
        if not (np.isfinite(lengths) & (lengths > 0)).all():
            raise InputError(f"`{label}` in `{path}` has a center that is zero or not finite")
    most = max(len(vectors) for vectors in classes.values())
    stacked = np.stack([np.resize(vectors, (most, embedding_dim)) for vectors in classes.values()])
    unit = stacked / np.linalg.norm(stacked, axis=-1, keepdims=True)
    return Centers(tuple(classes), unit, temperature, f"UniBind's centre embeddings, `{path.name}`", SOFTNESS)
