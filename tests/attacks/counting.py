"""A model that knows which clean sample every question was about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from advcal_edge.attacks import AttackedModel
from advcal_edge.attacks.base import to_numpy
from advcal_edge.model import Pullback
from advcal_edge.threat import Array


class Counting:
    """Counts forward passes for each of the clean samples `x`, which must lie farther apart than attacks may move."""

    def __init__(self, model: AttackedModel, x: np.ndarray) -> None:
        self.inner, self.x, self.asked = model, x, np.zeros(len(x), dtype=np.int64)
        self.spec, self.fingerprint = model.runner.spec, "counting"

    def attacked(self) -> AttackedModel:
        return replace(self.inner, runner=self, gradient=None if self.inner.gradient is None else self)

    def __call__(self, x: Array) -> Array:
        self._count(x)
        return self.inner.runner(x)

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        self._count(x)
        return self.inner.white_box().vjp(x)

    def _count(self, x: Any) -> None:
        apart = np.abs(to_numpy(x).reshape(len(x), 1, -1) - self.x.reshape(1, len(self.x), -1)).mean(axis=-1)
        np.add.at(self.asked, apart.argmin(axis=1), 1)
