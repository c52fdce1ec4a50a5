"""One question the verifier asks itself or the engine, with the number that answers it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

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
    def shown(self) -> str:
        """The measured number for people."""
        return "-" if self.measured is None else f"{self.measured:.4g}"

    def to_json(self) -> dict[str, Any]:
        """Plain types for the report."""
        return asdict(self)


def at_most(name: str, measured: float, limit: float, why: str, *, required: bool = True) -> Check:
    """Passes where `measured` does not exceed `limit`; what is not finite fails."""
    return settle(name, measured, measured <= limit, f"<= {limit:g}", why, required)


def at_least(name: str, measured: float, limit: float, why: str, *, required: bool = True) -> Check:
    """Passes where `measured` reaches `limit`; what is not finite fails."""
    return settle(name, measured, measured >= limit, f">= {limit:g}", why, required)


def settle(name: str, measured: float, good: bool, limit: str, why: str, required: bool) -> Check:
    """A check that was run."""
    if not math.isfinite(measured):
        return Check(name, "fail", None, limit, f"{why}; measured {measured}", required)
    return Check(name, "pass" if good else "fail", measured, limit, why, required)


def skipped(name: str, limit: str, why: str, *, required: bool = True) -> Check:
    """Was not run, for the reason given."""
    return Check(name, "skipped", None, limit, why, required)
