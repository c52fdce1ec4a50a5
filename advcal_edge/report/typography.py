"""Numbers and names as the page writes them: percent, a true minus, short hashes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from advcal_edge.report import table

SIGNS = str.maketrans({"-": "\N{MINUS SIGN}"})


def percent(fraction: float) -> str:
    """A fraction as percent with one decimal."""
    return table.percent(fraction).translate(SIGNS)


def interval(bounds: tuple[float, float]) -> str:
    """An interval of fractions in percent, readable with negative bounds."""
    low, high = bounds
    return f"{percent(low)} to {percent(high)}"


def number(value: float | None, digits: int = 4) -> str:
    """A plain number; a dash where there is none."""
    return "\N{EN DASH}" if value is None else f"{value:.{digits}g}".translate(SIGNS)


def limit(text: str) -> str:
    """A limit with the sign that print uses."""
    signed = text.replace("<=", "\N{LESS-THAN OR EQUAL TO}").replace(">=", "\N{GREATER-THAN OR EQUAL TO}")
    return signed.translate(SIGNS)


def attack_parts(text: str) -> tuple[str, str]:
    """`PGD(steps=10, loss='ce')` as its name and its settings."""
    name, _, settings = text.partition("(")
    return name, settings.removesuffix(")").replace("'", "")


def flatten(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names and values of a nested object, in its own order."""
    for key, value in data.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{name}.")
        elif isinstance(value, (list, tuple)):
            yield name, ", ".join(map(str, value))
        else:
            yield name, "\N{EN DASH}" if value is None else str(value)


FILTERS = {
    "percent": percent,
    "interval": interval,
    "number": number,
    "limit": limit,
    "attack_parts": attack_parts,
    "flatten": flatten,
}
