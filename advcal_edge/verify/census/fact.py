"""What is known of one tensor while x is followed through a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from advcal_edge.runtime.backends.graph_scan import Tensor
from advcal_edge.verify.census.ranges import Range

NOTHING, VALUE, SIZE, CHOICE = 0, 1, 2, 4
"""On what a tensor depends: nothing, values of x, sizes of x, something computed from sizes other than a size."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One tensor; by default a constant of which nothing more is known."""

    depends: int = NOTHING
    """A union of `VALUE`, `SIZE` and `CHOICE`."""
    deep: bool = False
    """Has a product with weights been before?"""
    copy: bool = False
    """Is it x itself, if shifted, scaled, moved or rounded?"""
    gain: float = 1.0
    """Amplification of values by constants since the last product with weights."""
    range: Range | None = None
    discrete: bool = False
    """Does it consist of integers or booleans?"""
    step: float = 0.0
    """Distance between neighbouring values, if a quantiser with a constant scale made it."""
    tensor: Tensor | None = None
    """The constant itself, if the file holds it."""

    @property
    def constant(self) -> bool:
        """Is it the same for every input?"""
        return not self.depends

    @property
    def values(self) -> bool:
        """Does it depend on the values of x?"""
        return bool(self.depends & VALUE)

    @property
    def peak(self) -> float:
        """The largest absolute value; 1 if it is not known."""
        return 1.0 if self.range is None else max(map(abs, self.range))

    @property
    def least(self) -> float:
        """The smallest absolute value; 1 if it is not known, or may be zero."""
        if self.range is None or self.range[0] * self.range[1] <= 0:
            return 1.0
        return min(map(abs, self.range))


def join(facts: Sequence[Fact]) -> Fact:
    """All of these tensors as one."""
    depends = NOTHING
    for fact in facts:
        depends |= fact.depends
    values = [fact for fact in facts if fact.values]
    return Fact(
        depends,
        deep=any(fact.deep for fact in values),
        copy=any(fact.copy for fact in values),
        gain=max((fact.gain for fact in values), default=1.0),
        range=facts[0].range if len(facts) == 1 else None,
        discrete=any(fact.discrete for fact in values),
        step=max((fact.step for fact in values), default=0.0),
    )
