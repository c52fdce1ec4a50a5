"""Climbing the ladder: build an engine, verify it, and give more of it back to fp32 until it is on a par."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from advcal_edge.errors import FidelityError
from advcal_edge.export.fallback import Step


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one step: the engine's hash, None where there was nothing to verify, and the verdict with reasons.

    The verdict is that of the report, `fail` too for an engine that does not compute what the module computes, or
    `skipped` for a step that changes nothing.
    """

    step: str
    engine: str | None
    verdict: str
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain types for the report."""
        return {"step": self.step, "engine": self.engine, "verdict": self.verdict, "reasons": list(self.reasons)}


@dataclass(frozen=True, slots=True)
class Ladder:
    """A climb as far as it went: the precision asked for, every attempt, and the step that passed, if one did."""

    asked: str
    attempts: tuple[Attempt, ...] = ()
    reached: Step | None = None

    def after(self, step: Step, engine: str | None, verdict: str, reasons: Sequence[str]) -> Ladder:
        """The climb with one more attempt."""
        attempts = (*self.attempts, Attempt(step.name, engine, verdict, tuple(reasons)))
        return replace(self, attempts=attempts, reached=step if verdict == "pass" else None)

    def to_json(self) -> dict[str, Any]:
        """Plain types for the report."""
        return {
            "asked": self.asked,
            "attempts": [attempt.to_json() for attempt in self.attempts],
            "reached": None if self.reached is None else self.reached.name,
        }


@dataclass(frozen=True, slots=True)
class Unchanged:
    """What a build is answered with that would be no other engine than one before, and why."""

    why: str


Build = Callable[[Step], str | Unchanged]
"""Builds the engine of a step and says under which name it is verified."""

Judge = Callable[[str, Step, Ladder], Mapping[str, Any]]
"""Verifies an engine, built at a step and after a climb so far, and returns the document of its report."""


def climb(asked: str, steps: Sequence[Step], build: Build, judge: Judge) -> Ladder:
    """Build and verify step by step up to the first that passes; an inconclusive verdict is no parity, and climbs on.

    Raises:
        ExportError: an engine that cannot be built. One that is built and broken is a failed attempt.
    """
    ladder = Ladder(asked)
    for step in steps:
        try:
            engine = build(step)
        except FidelityError as error:
            ladder = ladder.after(step, None, "fail", (error.message,))
            continue
        if isinstance(engine, Unchanged):
            ladder = ladder.after(step, None, "skipped", (engine.why,))
            continue
        report = judge(engine, step, ladder)
        ladder = ladder.after(step, report["engine"]["sha256"], report["verdict"], report["reasons"])
        if ladder.reached is not None:
            break
    return ladder
