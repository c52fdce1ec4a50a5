"""Format numbers and names for the page: percent, a true minus, short hashes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from advcal_edge.report import table
from advcal_edge.report.census import shown

SIGNS = str.maketrans({"-": "\N{MINUS SIGN}"})


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction as percent."""
    return table.percent(fraction, digits).translate(SIGNS)


def interval(bounds: tuple[float, float], digits: int = 1) -> str:
    """An interval of fractions in percent, readable with negative bounds."""
    low, high = bounds
    return f"{percent(low, digits)} to {percent(high, digits)}"


def number(value: float | None, digits: int = 4) -> str:
    """A plain number; a dash if there is none."""
    return "\N{EN DASH}" if value is None else f"{value:.{digits}g}".translate(SIGNS)


def limit(text: str) -> str:
    """A limit with typographic signs."""
    signed = text.replace("<=", "\N{LESS-THAN OR EQUAL TO}").replace(">=", "\N{GREATER-THAN OR EQUAL TO}")
    return signed.translate(SIGNS)


def size(count: int) -> str:
    """A size in readable units."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} B"


BUDGET = (
    "name",
    "losses",
    "pgd_steps",
    "pgd_restarts",
    "apgd_steps",
    "apgd_restarts",
    "targets",
    "difference_steps",
    "square_queries",
    "label_queries",
)
"""Keys of a budget that have their own wording here."""


def budget(settings: Mapping[str, Any]) -> str:
    """The budget of every attack; attacks that do not run are left out."""

    def starts(count: int) -> str:
        return f" from {count} starts" if count > 1 else ""

    losses = " and ".join(settings["losses"])
    parts = [
        f"PGD {settings['pgd_steps']} steps{starts(settings['pgd_restarts'])}",
        f"APGD {settings['apgd_steps']} steps{starts(settings['apgd_restarts'])} for each loss, {losses}",
        f"targeted APGD at {settings['targets']} classes" if settings["targets"] else "",
        f"DIVA {settings['difference_steps']} steps" if settings["difference_steps"] else "",
        f"Square {settings['square_queries']} queries" if settings["square_queries"] else "",
        f"RayS {settings['label_queries']} queries" if settings["label_queries"] else "",
        *(f"{name.replace('_', ' ')} {n}" for name, n in settings.items() if name not in BUDGET and n),
    ]
    return "; ".join(part for part in parts if part)


def attack_parts(text: str) -> tuple[str, str]:
    """Split `PGD(steps=10, step=None, loss='ce')` into its name and the settings that are set."""
    name, _, settings = text.partition("(")
    named = settings.removesuffix(")").replace("'", "").split(", ")
    return name, ", ".join(setting for setting in named if not setting.endswith("=None"))


def attack_name(text: str) -> str:
    """`PGD(steps=10, loss='ce')` as `PGD (ce)`."""
    name, settings = attack_parts(text)
    loss = re.search(r"\bloss=([^,]+)", settings)
    return f"{name} ({loss[1]})" if loss else name


def code_parts(text: str) -> Iterator[tuple[bool, str]]:
    """Parts of the text in order, and whether each was in backticks."""
    end = 0
    for match in re.finditer(r"`([^`]+)`", text):
        yield False, text[end : match.start()]
        yield True, match[1]
        end = match.end()
    yield False, text[end:]


def flatten(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names and values of a nested object, in its order."""
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
    "size": size,
    "budget": budget,
    "attack_parts": attack_parts,
    "attack_name": attack_name,
    "code_parts": code_parts,
    "flatten": flatten,
    "census": shown,
    "printable": table.one_line,
}
