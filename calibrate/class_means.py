"""Semantic centers without text: the mean embedding of each class, by the frozen encoder."""

from __future__ import annotations

import numpy as np
import torch

from advcal_edge.calibrate.adapters import AdaptedModule
from advcal_edge.calibrate.batches import embed_all
from advcal_edge.centers import Centers
from advcal_edge.encoders.base import Encoder
from advcal_edge.errors import InputError
from advcal_edge.probe import Probe

TEMPERATURE = 0.07  # where no text tower brought one: the value that CLIP and ImageBind begin with


def class_means(encoder: Encoder, samples: Probe, names: tuple[str, ...]) -> Centers:
    """Unit-norm means (k, d) of the unit-norm embeddings of each class.

    Raises:
        InputError: a class whose embeddings cancel or are not finite.
    """
    z = embed_all(AdaptedModule(encoder.module()), torch.from_numpy(samples.x)).numpy()
    means = np.stack([z[samples.y == label].mean(axis=0) for label in range(len(names))])
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    for name, norm in zip(names, norms[:, 0], strict=True):
        if not norm > 1e-6:
            raise InputError(f"the embeddings of the class `{name}` have a mean of norm {norm:g}; expected above zero")
    vectors = (means / norms).astype(np.float32)
    return Centers(names, vectors, TEMPERATURE, f"class means of {len(samples)} training samples")
