"""The best iterate of each sample: one that fools the victim beats one that does not, then the higher loss wins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from array_api_compat import device

from advcal_edge.threat import Array


@dataclass(slots=True)
class Best:
    """Running best x (n, ...), its loss value (n,) and whether it fools the victim (n,)."""

    x: Array
    value: Array
    fooled: Array

    @classmethod
    def start(cls, x: Array, xp: Any) -> Best:
        """Begin with the clean samples, which every iterate beats."""
        n, place = x.shape[0], device(x)
        return cls(
            xp.asarray(x, copy=True),
            xp.full((n,), -xp.inf, dtype=x.dtype, device=place),
            xp.zeros((n,), dtype=xp.bool, device=place),
        )

    def update(self, x: Array, value: Array, fooled: Array) -> Array:
        """Take over the samples on which `x` is better; returns where (n,) that was."""
        better = (fooled & ~self.fooled) | ((fooled == self.fooled) & (value > self.value))
        self.x[better] = x[better]
        self.value[better] = value[better]
        self.fooled[better] = fooled[better]
        return better
