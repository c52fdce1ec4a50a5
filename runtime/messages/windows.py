"""A stream of stamped messages cut into windows of some seconds, for sensors whose frame is a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import ConfigError, InputError
from advcal_edge.limits import Limit
from advcal_edge.runtime.messages.fields import NANOSECONDS, seconds_text
from advcal_edge.runtime.sensors.motion_time import LONGEST_GAP

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Window(Generic[Item]):
    """What the messages of a window hold."""

    stamps: NDArray[np.int64]
    """Nanoseconds (n,), rising."""

    items: list[Item]
    end: int | None
    """The stamp of the next message, which ended the window; None if the stream ended before it was full."""

    def check_gaps(self) -> None:
        """Refuse a window in which, or after which, messages are missing.

        Raises:
            InputError: a step is much longer than usual, or there is only one message.
        """
        if len(self.stamps) < 2:
            raise InputError(
                f"{len(self.stamps)} message from {seconds_text(int(self.stamps[0]))} s on; expected two or more in a"
                " window",
                hint="longer windows: `--seconds`",
            )
        steps = np.diff(self.stamps if self.end is None else np.append(self.stamps, self.end))
        usual, longest = float(np.median(steps)), int(steps.max())
        if longest > LONGEST_GAP * usual:
            raise InputError(
                f"a gap of {longest / NANOSECONDS:g} s after {seconds_text(int(self.stamps[steps.argmax()]))} s;"
                f" expected at most {LONGEST_GAP:g} times the usual {usual / NANOSECONDS:g} s",
                hint="messages were lost, or the recording paused; `--skip-bad` leaves this window out",
            )


class Windows(Generic[Item]):
    """Collects what messages hold until a window is full; the next one starts `stride` seconds after its start."""

    def __init__(self, seconds: float, stride: float | None, limit: Limit) -> None:
        stride = seconds if stride is None else stride
        if not (0 < seconds <= 86400 and 0 < stride <= 86400):
            raise ConfigError(f"a window of {seconds:g} s every {stride:g} s; expected more than 0 and at most a day")
        self._length, self._stride = max(1, round(seconds * NANOSECONDS)), max(1, round(stride * NANOSECONDS))
        self._limit = limit
        self._kept: list[tuple[int, Item, int]] = []
        self._due: int | None = None
        self._last: int | None = None
        self._given = 0

    def add(self, at: int, item: Item, size: int = 1) -> Window[Item] | None:
        """Take one item with its stamp in nanoseconds, and `size` of what is limited; the window that it ends, if any.

        After an error the next window starts with this item.

        Raises:
            InputError: its stamp is not later than the last one, or a window holds too much.
        """
        last, self._last = self._last, at
        if last is not None and at <= last:
            self._kept, self._due = [(at, item, size)], None
            what = "time does not pass" if at == last else "time goes back"
            raise InputError(
                f"{what}: the stamp {seconds_text(at)} s comes after {seconds_text(last)} s; expected rising stamps",
                hint="a recording that was played twice, two publishers on one topic, or a clock that was set;"
                " `--skip-bad` starts anew there",
            )
        full = None
        if self._kept and at >= self._kept[0][0] + self._length:
            full = self._window(at)
            self._given += 1
            self._due = self._kept[0][0] + self._stride
            self._kept = [kept for kept in self._kept if kept[0] >= self._due]
        if self._due is None or at >= self._due or self._kept:
            self._kept.append((at, item, size))
        held = sum(kept[2] for kept in self._kept) if size > 1 else len(self._kept)
        if held > self._limit.value:
            self._kept, self._due = [(at, item, size)], None
            self._limit.check(held, f"a window from {seconds_text(at)} s on", InputError)
        return full

    def rest(self) -> Window[Item] | None:
        """What was collected, if the stream ended before its first window was full."""
        return None if self._given or not self._kept else self._window(None)

    def _window(self, end: int | None) -> Window[Item]:
        stamps = np.array([at for at, _, _ in self._kept], np.int64)
        return Window(stamps, [item for _, item, _ in self._kept], end)
