"""The diagnosis of an active node: from what came lately, what was done with it, and what runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from advcal_edge.commands import command
from advcal_edge.robot.counts import Counts, Recent
from advcal_edge.robot.diagnosis import Diagnosis, Level
from advcal_edge.robot.intake import AHEAD, Intake
from advcal_edge.robot.opening import Opened
from advcal_edge.robot.publishers import Publisher, Wanted, check_publishers
from advcal_edge.runtime.messages.kinds import CLOUD, IMAGE

SILENCE = 2.0
"""Seconds without a message after which the publishers are looked at."""

LOSS = 0.1
"""Share of the messages that may be lost before that is told."""

LARGE_KINDS = (IMAGE, CLOUD)
LARGE = (
    "large frames do not fit Fast DDS's shared memory: start the publisher with the profile that"
    " `advcal-edge doctor` names"
)


@dataclass(slots=True)
class Watch:
    """Looks at an active node once a second."""

    opened: Opened
    intake: Intake
    wanted: Wanted
    since: float = field(default_factory=time.monotonic)
    incompatible: str = ""
    """The policy that the middleware named in its event, like RELIABILITY."""
    _recent: Recent = field(init=False)

    def __post_init__(self) -> None:
        self._recent = Recent(self.since)

    def look(self, publishers: Sequence[Publisher]) -> Diagnosis:
        """The first thing that is wrong, the worst first."""
        now = time.monotonic()
        counts, span = self._recent.add(self.intake.snapshot(), now)
        silent = now - (self.intake.arrived or self.since)
        return (
            self._silence(silent, publishers)
            or self._failures(counts)
            or self._stale(counts)
            or self._clocks(counts)
            or self.opened.reservation
            or self._losses(counts)
            or Diagnosis(Level.OK, f"{counts.embedded / span:.1f} answers per second")
        )

    def facts(self, publishers: Sequence[Publisher]) -> dict[str, str]:
        """What is shown beside the diagnosis."""
        counts = self.intake.snapshot()
        shown = {name: str(getattr(counts, name)) for name in Counts.__slots__}
        for percentile, seconds in self.intake.durations.percentiles().items():
            shown[f"ms p{percentile}"] = f"{seconds * 1e3:.2f}"
        if self.intake.age is not None:
            shown["age ms"] = f"{self.intake.age * 1e3:.1f}"
        return {
            **self.opened.facts(),
            "input": f"{self.wanted.topic} {self.wanted.kind} {self.wanted.asks}",
            "publishers": "; ".join(f"{one.node} {one.kind} {one.reliability}" for one in publishers) or "none",
            "qos incompatible": self.incompatible or "no",
            **shown,
        }

    def _silence(self, silent: float, publishers: Sequence[Publisher]) -> Diagnosis | None:
        if silent < SILENCE:
            waits = self.intake.arrived is None
            return Diagnosis(Level.STALE, f"waits for the first message on `{self.wanted.topic}`") if waits else None
        found = check_publishers(self.wanted, publishers)
        if found is not None:
            return found
        never, topic = self.intake.arrived is None, self.wanted.topic
        what = "no message yet" if never else f"no message for {silent:.0f} s"
        names = ", ".join(f"`{one.node}`" for one in publishers if self.wanted.takes(one))
        large = never and self.wanted.kind in LARGE_KINDS
        mend = LARGE if large else f"does it publish at all? `ros2 topic hz {topic}`"
        return Diagnosis(Level.STALE, f"{what} on `{topic}`, though {names} publishes it", mend)

    def _failures(self, recent: Counts) -> Diagnosis | None:
        fault = self.intake.fault
        if fault is None or not (recent.failed or recent.rejected) or recent.embedded > recent.failed + recent.rejected:
            return None
        found = Diagnosis.of_error(fault)
        return Diagnosis(
            Level.ERROR,
            f"{recent.failed + recent.rejected} of the last {recent.received} messages gave no answer: {found.reason}",
            found.mend,
        )

    def _stale(self, recent: Counts) -> Diagnosis | None:
        age = self.intake.age
        if recent.stale <= recent.embedded or age is None:
            return None
        limit = self.intake.settings.max_age
        if age > 60:
            mend = (
                "a bag: `--ros-args -p use_sim_time:=true` with `ros2 bag play --clock`, or `-p max_age:=0.0`;"
                " else set the clocks: `chronyc tracking`"
            )
        else:
            mend = (
                f"a faster engine (`{command('bench', self.opened.settings.bundle)}`), or `-p max_age:={2 * age:.2f}`"
            )
        return Diagnosis(
            Level.WARN,
            f"{recent.stale} of the last {recent.received} messages were older than {limit:g} s and dropped,"
            f" the last one {_seconds(age)}",
            mend,
        )

    def _clocks(self, recent: Counts) -> Diagnosis | None:
        age = self.intake.age
        if age is not None and age < -AHEAD:
            reason = f"stamps lie {_seconds(-age)} ahead of this clock, so stale frames cannot be told"
            return Diagnosis(Level.WARN, reason, "set the clocks: `chronyc tracking`")
        if recent.unstamped and recent.unstamped == recent.received and self.intake.settings.max_age:
            has = self.intake.reader.kind.startswith("sensor_msgs/")
            reason = "the messages have no stamp, so stale frames cannot be told"
            return (
                Diagnosis(Level.WARN, reason, "set `header.stamp` in the driver, or `-p max_age:=0.0`") if has else None
            )
        return None

    def _losses(self, recent: Counts) -> Diagnosis | None:
        fault, bad = self.intake.fault, recent.failed + recent.rejected
        if fault is not None and bad:
            found = Diagnosis.of_error(fault)
            return Diagnosis(Level.WARN, f"{bad} of the last {recent.received} messages: {found.reason}", found.mend)
        if recent.lost > LOSS * recent.received:
            reason = f"{recent.lost} messages were lost on their way while {recent.received} came"
            return Diagnosis(Level.WARN, reason, LARGE)
        return None


def _seconds(age: float) -> str:
    return f"{age:.2f} s" if age < 60 else f"{age / 86400:.1f} days" if age > 86400 else f"{age / 60:.0f} minutes"
