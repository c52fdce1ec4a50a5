"""What a probe expects of the piece of work that it does."""

from __future__ import annotations


def expect(condition: object, complaint: str) -> None:
    """Fail a probe.

    Raises:
        RuntimeError: the condition does not hold.
    """
    if not condition:
        raise RuntimeError(complaint)
