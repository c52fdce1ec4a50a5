"""The best iterate of each sample: one that fools the victim beats one that does not, then the higher loss wins."""

from __future__ import annotations

from dataclasses import dataclass

from array_api_compat import array_namespace

from advcal_edge.threat import Array


@dataclass(slots=True)
class Best:
    """Running best x (n, ...), its loss value (n,) and whether it fools the victim (n,)."""

    x: Array
    value: Array
    fooled: Array

    @classmethod
    def start(cls, x: Array, fooled: Array) -> Best:
        """Begin with the clean samples, some of which may fool the victim as they are; their loss is the lowest."""
        xp = array_namespace(x)
        nothing = xp.astype(fooled, x.dtype) * 0
        return cls(xp.asarray(x, copy=True), nothing - xp.inf, xp.asarray(fooled, copy=True))

    def update(self, rows: Array, x: Array, value: Array, fooled: Array) -> None:
        """Take over iterates x (m, ...) of the samples `rows` (m,) where they are better than what they had."""
        value = array_namespace(value).astype(value, self.value.dtype)
        had, held = self.fooled[rows], self.value[rows]
        better = (fooled & ~had) | ((fooled == had) & (value > held))
        rows = rows[better]
        self.x[rows], self.value[rows], self.fooled[rows] = x[better], value[better], fooled[better]
