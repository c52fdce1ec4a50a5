"""What became of the messages, in all and lately, and how long answers took."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field, replace

import numpy as np

PERCENTILES = (50, 95, 99)
KEPT = 600
"""Durations kept: twenty seconds at 30 Hz."""


@dataclass(slots=True)
class Counts:
    """What became of the messages since the node was activated. A part of a window is only `received`."""

    received: int = 0
    embedded: int = 0
    stale: int = 0
    rejected: int = 0
    failed: int = 0
    unsure: int = 0
    unstamped: int = 0
    """Without a stamp, so that their age is not known."""
    lost: int = 0
    """Published, and never received: what the middleware reports."""

    def since(self, before: Counts) -> Counts:
        """What was added."""
        earlier = asdict(before)
        return Counts(**{name: count - earlier[name] for name, count in asdict(self).items()})


@dataclass(slots=True)
class Recent:
    """The counts of the last seconds, so that a diagnosis is about now."""

    since: float
    """When counting began, by `time.monotonic`."""
    seconds: float = 10.0
    _kept: deque[tuple[float, Counts]] = field(default_factory=deque)

    def add(self, counts: Counts, now: float) -> tuple[Counts, float]:
        """Take the counts of now; what was added lately, and in how many seconds."""
        if not self._kept:
            self._kept.append((self.since, Counts()))
        self._kept.append((now, replace(counts)))
        while now - self._kept[1][0] >= self.seconds:
            self._kept.popleft()
        at, before = self._kept[0]
        return counts.since(before), now - at


@dataclass(slots=True)
class Durations:
    """Seconds of the last answers."""

    _kept: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    def add(self, seconds: float) -> None:
        """Take one."""
        self._kept.append(seconds)

    def percentiles(self) -> dict[int, float]:
        """Seconds by percentile, rounded to microseconds; none before the first answer."""
        kept = list(self._kept)
        if not kept:
            return {}
        return {one: round(float(np.percentile(kept, one)), 6) for one in PERCENTILES}
