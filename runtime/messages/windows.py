"""A stream of stamped messages cut into windows of some seconds, for sensors whose frame is a recording."""

from __future__ import annotations

from typing import Generic, TypeVar

from advcal_edge.errors import ConfigError, InputError
from advcal_edge.runtime.messages.fields import NANOSECONDS, seconds_text

Item = TypeVar("Item")


class Windows(Generic[Item]):
    """Collects what messages hold until a window is full; the next one starts `stride` seconds after its start."""

    def __init__(self, seconds: float, stride: float | None = None, most: int = 2**20) -> None:
        stride = seconds if stride is None else stride
        if not (0 < seconds <= 86400 and 0 < stride <= 86400):
            raise ConfigError(f"a window of {seconds:g} s every {stride:g} s; expected more than 0 and at most a day")
        self._length, self._stride = max(1, round(seconds * NANOSECONDS)), max(1, round(stride * NANOSECONDS))
        self._most = most
        self._kept: list[tuple[int, Item]] = []
        self._due: int | None = None
        self._last: int | None = None
        self._given = 0

    def add(self, at: int, item: Item) -> list[tuple[int, Item]] | None:
        """Take one item with its stamp in nanoseconds; the whole window before it, if this item ends one.

        After an error the next window starts with this item.

        Raises:
            InputError: its stamp is not later than the last one, or a window has too many items.
        """
        last, self._last = self._last, at
        if last is not None and at <= last:
            self._restart(at, item)
            what = "time does not pass" if at == last else "time goes back"
            raise InputError(
                f"{what}: the stamp {seconds_text(at)} s comes after {seconds_text(last)} s; expected rising stamps",
                hint="a recording that was played twice, two publishers on one topic, or a clock that was set;"
                " `--skip-bad` starts anew there",
            )
        full = None
        if self._kept and at >= self._kept[0][0] + self._length:
            full = self._kept
            self._given += 1
            self._due = full[0][0] + self._stride
            self._kept = [kept for kept in full if kept[0] >= self._due]
        if self._due is None or at >= self._due or self._kept:
            self._kept.append((at, item))
        if len(self._kept) > self._most:
            self._restart(at, item)
            raise InputError(
                f"more than {self._most:,} messages within a window of {self._length / NANOSECONDS:g} s",
                hint="shorter windows: `--seconds`; and are the stamps of the header right?",
            )
        return full

    def __len__(self) -> int:
        """Number of items that are held."""
        return len(self._kept)

    def rest(self) -> list[tuple[int, Item]] | None:
        """What was collected, if the stream ended before its first window was full."""
        return None if self._given or not self._kept else self._kept

    def _restart(self, at: int, item: Item) -> None:
        self._kept, self._due = [(at, item)], None
