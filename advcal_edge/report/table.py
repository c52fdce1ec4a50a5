"""Plain aligned tables, readable in a log file."""

from __future__ import annotations

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns two spaces apart; the first is left-aligned, the others right-aligned."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def percent(fraction: float) -> str:
    """A fraction as percent with one decimal; never `-0.0`."""
    return f"{round(100 * fraction, 1) + 0.0:.1f}"


def percent_interval(low: float, high: float) -> str:
    """An interval of fractions in percent."""
    return f"[{percent(low)}, {percent(high)}]"


def one_line(text: object) -> str:
    """Text from outside on one line, without what could move a terminal's cursor."""
    return "".join(c if c.isprintable() else " " for c in " ".join(str(text).split()))
