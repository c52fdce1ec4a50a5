"""Plain aligned tables, readable in a log file."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

WIDTH = 100  # columns of a log that fit without scrolling
FIGURES = re.compile(r"[-+0-9.,/%e<>\[\] ]*|[0-9.]+ [kM]?B")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns two spaces apart; numbers are right-aligned, text left-aligned."""
    columns = []
    for name, *cells in zip(header, *rows, strict=True):
        name, *cells = (printable(cell) for cell in (name, *cells))
        width = max(map(len, (name, *cells)))
        figures = all(FIGURES.fullmatch(cell) for cell in cells)
        columns.append([cell.rjust(width) if figures else cell.ljust(width) for cell in (name, *cells)])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction as percent; never `-0.0`."""
    return f"{round(100 * fraction, digits) + 0.0:.{digits}f}"


def percent_interval(low: float, high: float) -> str:
    """An interval of fractions in percent."""
    return f"[{percent(low)}, {percent(high)}]"


def one_line(text: object) -> str:
    """Untrusted text on one line, without characters that could move a terminal's cursor."""
    return printable(" ".join(str(text).split()))


def printable(text: str) -> str:
    """Text with terminal control characters replaced by spaces."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)


def wrapped(first: str, text: str) -> str:
    """`first` and then untrusted text, with a hanging indent under its start; intervals are not broken."""
    whole = re.sub(r"(\S) \[([^][ ]+), ([^][ ]+)]", "\\1\N{NO-BREAK SPACE}[\\2,\N{NO-BREAK SPACE}\\3]", one_line(text))
    lines = textwrap.wrap(whole, max(WIDTH - len(first), 20), break_on_hyphens=False) or [""]
    indented = (f"{first if i == 0 else ' ' * len(first)}{line}" for i, line in enumerate(lines))
    return "\n".join(line.replace("\N{NO-BREAK SPACE}", " ").rstrip() for line in indented)


def clipped(text: object, width: int = 28) -> str:
    """Untrusted text on one line of a table, cut off at `width`."""
    line = one_line(text)
    return line if len(line) <= width else f"{line[: width - 3]}..."
