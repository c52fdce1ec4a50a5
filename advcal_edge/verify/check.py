"""One question the verifier asks itself or the engine, with the number that answers it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from advcal_edge.stats import tango

Status = Literal["pass", "fail", "skipped"]


@dataclass(frozen=True, slots=True)
class Check:
    """A measured number against a limit. A required check that was skipped makes the verdict inconclusive."""

    name: str
    status: Status
    measured: float | None
    limit: str
    why: str
    required: bool = True

    @property
    def page(self) -> str:
        """Where the documentation explains it, from the root of the repository."""
        return f"docs/checks/{self.name}.md"

    @property
    def shown(self) -> str:
        """The measured number for people."""
        return "-" if self.measured is None else f"{self.measured:.4g}"

    def to_json(self) -> dict[str, Any]:
        """Plain types for the report."""
        return {**asdict(self), "page": self.page}


def at_most(name: str, measured: float, limit: float, why: str, *, required: bool = True) -> Check:
    """Passes where `measured` does not exceed `limit`; what is not finite fails."""
    return settle(name, measured, measured <= limit, f"<= {limit:g}", why, required)


def at_least(name: str, measured: float, limit: float, why: str, *, required: bool = True) -> Check:
    """Passes where `measured` reaches `limit`; what is not finite fails."""
    return settle(name, measured, measured >= limit, f">= {limit:g}", why, required)


def not_ahead(name: str, first: NDArray[np.bool_], second: NDArray[np.bool_], limit: float, what: str) -> Check:
    """Passes where an attack that won on `first` (n,) has no lead over one that won on `second` (n,), same samples.

    The lower bound of the paired difference is held against the limit, so that a few samples are no evidence.
    """
    gained, lost = int((first & ~second).sum()), int((second & ~first).sum())
    why = f"95 % lower bound of the lead of {what}: +{gained} / -{lost} of {len(first)} samples"
    return at_most(name, tango(gained, lost, len(first)).low, limit, why)


def settle(name: str, measured: float, good: bool, limit: str, why: str, required: bool) -> Check:
    """A check that was run."""
    if not math.isfinite(measured):
        return Check(name, "fail", None, limit, f"{why}; measured {measured}", required)
    return Check(name, "pass" if good else "fail", measured, limit, why, required)


def skipped(name: str, limit: str, why: str, *, required: bool = True) -> Check:
    """Was not run, for the reason given."""
    return Check(name, "skipped", None, limit, why, required)
