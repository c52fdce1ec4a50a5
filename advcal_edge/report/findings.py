"""What the check of a stored report found, for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from advcal_edge.report.table import clipped, wrapped

WORDS = {"ok": "ok", "wrong": "WRONG", "unchecked": "unchecked"}
NAME_WIDTH = 32


class Finding(Protocol):
    """One claim of a report, held against what it speaks of."""

    @property
    def name(self) -> str:
        """What was looked at."""

    @property
    def status(self) -> str:
        """`ok`, `wrong` or `unchecked`."""

    @property
    def found(self) -> str:
        """What the document says."""

    @property
    def expected(self) -> str:
        """What it should say; empty where nothing is known."""

    @property
    def where(self) -> str:
        """The place in the document."""


def render_findings(findings: Sequence[Finding]) -> str:
    """One line a finding, more where something is wrong or was not looked at, and last how many there are of each."""
    width = min(max((len(clipped(item.name, NAME_WIDTH)) for item in findings), default=0), NAME_WIDTH)
    lines = [line for item in findings for line in finding_lines(item, width)]
    counts = Counter(item.status for item in findings)
    return "\n".join([*lines, "", ", ".join(f"{counts[status]} {status}" for status in WORDS)])


def finding_lines(item: Finding, width: int) -> list[str]:
    """Status and name; where it is not ok, the place and both values below."""
    first = f"{WORDS[item.status]:9}  {clipped(item.name, NAME_WIDTH):{width}}  "
    if item.status == "ok":
        return [wrapped(first, item.where)]
    indent = " " * 11
    lines = [wrapped(first, item.where), wrapped(f"{indent}found     ", item.found)]
    return [*lines, wrapped(f"{indent}expected  ", item.expected)] if item.expected else lines
