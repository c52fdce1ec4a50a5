"""Commands as hints name them: quoted, so that what a shell is given is what was meant, whatever a path is called."""

from __future__ import annotations

import shlex


def command(name: str, *words: object) -> str:
    """`advcal-edge NAME` with its words, each quoted where a shell would read it otherwise."""
    return " ".join(("advcal-edge", name, *(shlex.quote(str(word)) for word in words)))
