"""The diagnosis of the node in every state of its life, from start to end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from advcal_edge.errors import AdvcalError, EngineError, first_line
from advcal_edge.robot.diagnosis import Diagnosis, Level
from advcal_edge.robot.opening import Opened
from advcal_edge.robot.publishers import Publisher
from advcal_edge.robot.running import Watch


@dataclass(slots=True)
class Condition:
    """What is known of the node: what it waits for, what refused it, what it runs."""

    node: str
    """Its name in the graph, like `/advcal_edge`."""
    loading: float | None = None
    """When it began to open the engine, by `time.monotonic`."""
    refusal: Diagnosis | None = None
    opened: Opened | None = None
    watch: Watch | None = None

    def refuse(self, error: Exception) -> Diagnosis:
        """Note why the node could not be configured or activated."""
        if not isinstance(error, AdvcalError):
            error = EngineError(f"{type(error).__name__}: {first_line(error)}")
        self.refusal = Diagnosis.of_error(error)
        return self.refusal

    def diagnose(self, publishers: Sequence[Publisher]) -> Diagnosis:
        """Of this moment; `publishers` are those of the input."""
        if self.watch is not None:
            return self.watch.look(publishers)
        if self.refusal is not None:
            return self.refusal
        if self.loading is not None:
            seconds = time.monotonic() - self.loading
            return Diagnosis(Level.WARN, f"reading and checking the engine for {seconds:.0f} s")
        if self.opened is not None:
            return Diagnosis(Level.WARN, "configured, not active", f"`ros2 lifecycle set {self.node} activate`")
        return Diagnosis(Level.WARN, "not configured", f"`ros2 lifecycle set {self.node} configure`")

    def facts(self, publishers: Sequence[Publisher]) -> dict[str, str]:
        """What is shown beside the diagnosis."""
        if self.watch is not None:
            return self.watch.facts(publishers)
        return {} if self.opened is None else self.opened.facts()
