"""When an answer may be trusted: the rule of a passing report, by which an embedder says that it does not know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from advcal_edge.report.selective import Rule
    from advcal_edge.spec import Modality


@dataclass(frozen=True, slots=True)
class Abstention:
    """An answer is sure where its decision margin, best score minus second best in units of cosine, is above this.

    It holds for the engine, the threat model and the samples of the report: `docs/abstention.md` says what it covers.
    """

    threshold: float
    alpha: float
    """Largest share of wrong answers among sure ones that whoever verified allowed."""
    bound: float
    """Share of wrong answers among sure ones under attack, at most, with 95 % confidence."""
    coverage: float
    """Share of answers that were sure on clean input."""
    coverage_attacked: float
    """The same under attack."""

    def sure(self, margins: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Where (n,) answers with these decision margins (n,) may be trusted."""
        return margins > self.threshold

    def covering(self, modality: Modality) -> Abstention | None:
        """The rule where it holds for the answers of this sensor: not for a mean of clips, which was not attacked."""
        return self if modality.number("clips", 1) <= 1 else None

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def of(cls, rule: Rule | None) -> Abstention | None:
        """The rule that a passing report derives; None where it has none, or where no threshold keeps to alpha."""
        if rule is None or not rule.holds:
            return None
        found = rule.attacked
        return cls(rule.threshold, rule.alpha, found.bound, rule.clean.coverage, found.coverage)
