"""Progress of long work: a callback of (stage, done, total). Libraries call it; only `cli` shows it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Show nothing."""
