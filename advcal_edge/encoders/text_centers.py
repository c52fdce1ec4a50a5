"""Semantic centers made of words: the way every CLIP-like model is asked for classes without training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from advcal_edge.centers import Centers
from advcal_edge.encoders.base import TextTower
from advcal_edge.errors import InputError


def text_centers(tower: TextTower, labels: Sequence[str], templates: Sequence[str] = ("{}",)) -> Centers:
    """One center a label (k, d): the unit-norm mean of the unit-norm embeddings of its prompts.

    Raises:
        InputError: fewer than two labels, one twice, or a template without `{}`.
    """
    for template in templates:
        if template.count("{}") != 1:
            raise InputError(f"the template `{template}` holds no single `{{}}`; expected one place for the label")
    if len(set(labels)) != len(labels):
        twice = next(label for label in labels if list(labels).count(label) > 1)
        raise InputError(f"the label `{twice}` occurs twice; labels must be unique")
    prompts = [template.replace("{}", label) for label in labels for template in templates]
    means = tower.embed(prompts).reshape(len(labels), len(templates), -1).mean(axis=1)
    vectors = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
    words = "" if tuple(templates) == ("{}",) else f", mean of the prompts {' | '.join(templates)}"
    return Centers(tuple(labels), vectors, tower.temperature, f"{tower.source}{words}")
