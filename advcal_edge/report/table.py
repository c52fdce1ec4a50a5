"""Plain aligned tables, readable in a log file."""

from __future__ import annotations

import re
from collections.abc import Sequence

FIGURES = re.compile(r"[-+0-9.,/%e<>\[\] ]*|[0-9.]+ [kM]?B")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns two spaces apart; figures are right-aligned, words left-aligned."""
    columns = []
    for name, *cells in zip(header, *rows, strict=True):
        name, *cells = (printable(cell) for cell in (name, *cells))
        width = max(map(len, (name, *cells)))
        figures = all(FIGURES.fullmatch(cell) for cell in cells)
        columns.append([cell.rjust(width) if figures else cell.ljust(width) for cell in (name, *cells)])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def percent(fraction: float) -> str:
    """A fraction as percent with one decimal; never `-0.0`."""
    return f"{round(100 * fraction, 1) + 0.0:.1f}"


def percent_interval(low: float, high: float) -> str:
    """An interval of fractions in percent."""
    return f"[{percent(low)}, {percent(high)}]"


def one_line(text: object) -> str:
    """Text from outside on one line, without what could move a terminal's cursor."""
    return printable(" ".join(str(text).split()))


def printable(text: str) -> str:
    """Text with a space in place of whatever a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)
