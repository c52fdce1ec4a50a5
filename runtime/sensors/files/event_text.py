"""Events from text: four numbers a row, as the Event Camera Dataset, v2e and Metavision's CSV have them.

A header names the columns in any order; without one they are t, x, y, p, or as `input.columns` declares.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.event_columns import FIELDS, NAMES
from advcal_edge.runtime.sensors.files.sample_table import open_table
from advcal_edge.runtime.sensors.files.sensor_file import AGAIN, open_sensor_file
from advcal_edge.runtime.sensors.frame import Array

LAYOUT = "rows of t, x, y, p between blanks or commas, or a header with these names"


def read_event_text(path: Path, columns: tuple[str, ...]) -> Array:
    """The events in a text: (n,) with the fields t, x, y, p if it has a header, or else (n, columns) as they stand.

    Raises:
        InputError: missing, no table of numbers, another number of columns, or a header that contradicts `columns`.
    """
    where = f"`{path}`"
    try:
        with open_sensor_file(path) as file:
            table = open_table(file, lambda titles: set(FIELDS) <= set(map(_name, titles)))
            names = list(map(_name, table.titles))
            if not set(FIELDS) <= set(names):
                return table.read(range(table.width), ()).T
            if columns and any(
                said not in ("", told) and told != "-" for said, told in zip(names, columns, strict=False)
            ):
                raise InputError(
                    f"{where} has the columns {', '.join(names[:8])}; declared are {', '.join(columns)}",
                    hint="declare them as its header says, or leave `input.columns` out",
                )
            found = table.read([names.index(name) for name in FIELDS], ())
    except EOFError:
        raise InputError(f"{where} holds no row of numbers; expected {LAYOUT}", hint=AGAIN) from None
    except (ValueError, MemoryError) as error:
        raise InputError(f"{where} is no table of events: {error}", hint=f"expected {LAYOUT}; else {AGAIN}") from error
    limits.EVENTS.check(found.shape[1], where, InputError)
    events = np.empty(found.shape[1], [(name, "<f8") for name in FIELDS])
    for name, column in zip(FIELDS, found, strict=True):
        events[name] = column
    return events


def _name(title: str) -> str:
    return NAMES.get(re.sub(r"[\[(].*", "", title.strip("#%/ ")).strip().lower(), "")
