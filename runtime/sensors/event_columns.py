"""Columns of events: in which order they come, and how a wrong order shows itself."""

from __future__ import annotations

import numpy as np

from advcal_edge.errors import ConfigError, InputError
from advcal_edge.runtime.sensors.frame import Array
from advcal_edge.spec import Modality

FIELDS = ("t", "x", "y", "p")
LEFT_OUT = "-"
NAMES = {
    **dict.fromkeys(("t", "ts", "time", "timestamp", "timestamps"), "t"),
    **dict.fromkeys(("x", "x_pos"), "x"),
    **dict.fromkeys(("y", "y_pos"), "y"),
    **dict.fromkeys(("p", "pol", "polarity", "on"), "p"),
}
"""Names that fields and columns have, and what they are."""

LARGEST_SIDE = 4096
"""Pixels; the largest event cameras have 1280."""

FEWEST_TO_JUDGE = 32
"""Events, before a coordinate that never falls is taken for a time."""

ASSUME = "; `--set input.assume_units=yes` takes them as they are"

FEWEST_PLACES = 8
"""Different values of such a coordinate."""


def declared_order(modality: Modality) -> tuple[str, ...]:
    """The names of columns that are declared, or none.

    Raises:
        ConfigError: one of t, x, y, p is missing, comes twice, or is none.
    """
    text = modality.text("columns")
    names = tuple(text.split(",")) if text else ()
    if names and sorted(name for name in names if name != LEFT_OUT) != sorted(FIELDS):
        raise ConfigError(
            f"`input.columns` is `{text}`; expected each of {', '.join(FIELDS)} once",
            hint="`--set input.columns=x,y,t,p`, `-` for what is left out",
        )
    return names


def check_order(columns: dict[str, Array], where: str) -> None:
    """Refuse events whose time falls, or whose columns come in another order than was thought.

    Raises:
        InputError: what was seen, and the order that would make sense of it.
    """
    t, x, y = (columns[name] for name in ("t", "x", "y"))
    falls = np.flatnonzero(t[1:] < t[:-1])
    if len(falls):
        row = int(falls[0])
        raise InputError(
            f"{where} holds times that fall: {t[row + 1]:.10g} in row {row + 2} follows {t[row]:.10g};"
            " expected events in the order of their times",
            hint=(_likely_order(columns) or "`events[numpy.argsort(events[:, 0], kind='stable')]` sorts them") + ASSUME,
        )
    for name, side in (("x", x), ("y", y)):
        if len(side) >= FEWEST_TO_JUDGE and (side[1:] >= side[:-1]).all() and _places(side) >= FEWEST_PLACES:
            raise InputError(
                f"{where} holds a coordinate {name} that never falls in {len(side)} events; expected pixels in any"
                " order",
                hint=(
                    _likely_order(columns)
                    or "a time is among the coordinates: `--set input.columns=x,y,t,p` names the columns"
                )
                + ASSUME,
            )
        if side.max() >= LARGEST_SIDE:
            raise InputError(
                f"{where} spans [{side.min():g}, {side.max():g}] in {name}; expected a sensor of at most {LARGEST_SIDE}"
                " pixels a side",
                hint=(
                    _likely_order(columns)
                    or "columns are t, x, y, p; another order is declared: `--set input.columns=x,y,t,p`"
                )
                + ASSUME,
            )


def _likely_order(columns: dict[str, Array]) -> str:
    """The setting for the only order in which the columns look like events, or "" if they do as they are, or never."""
    times = [name for name, column in columns.items() if _looks_like_time(column)]
    signs = [name for name, column in columns.items() if _looks_like_polarity(column)]
    times = [name for name in times if name not in signs]
    if len(times) != 1 or len(signs) != 1:
        return ""
    sides = iter(("x", "y"))
    names = [{times[0]: "t", signs[0]: "p"}.get(name) or next(sides) for name in columns]
    return "" if names == list(columns) else f"`--set input.columns={','.join(names)}`, if that is their order"


def _looks_like_time(column: Array) -> bool:
    return bool((column[1:] >= column[:-1]).all() and column[0] < column[-1])


def _looks_like_polarity(column: Array) -> bool:
    return bool(((column == 0) | (column == 1)).all() or (np.abs(column) == 1).all())


def _places(side: Array) -> int:
    return 1 + int((side[1:] != side[:-1]).sum())
