"""Commands in hints, quoted so that a shell reads any path correctly."""

from __future__ import annotations

import shlex


def command(name: str, *words: object) -> str:
    """`advcal-edge NAME` with its words, quoted where the shell needs it."""
    return " ".join(("advcal-edge", name, *(shlex.quote(str(word)) for word in words)))
