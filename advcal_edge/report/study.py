"""The document of a study: a line of figures for each calibration without its seed, and what was run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from advcal_edge.columns import COLUMNS, HEADINGS, RECALL
from advcal_edge.errors import BundleError
from advcal_edge.manifest import COUNT, FRACTION, NUMBER, TEXT, Each, Items, Rule, Shape, check_shape
from advcal_edge.report.table import one_line, percent
from advcal_edge.stats import wilson

SCHEMA = "advcal-edge/study/1"
CASE, REPEATED = "case", "seed"
"""Keys of a cell that are no settings to compare: the name of its case, and what repeats a calibration."""
DEFAULT = "default"
"""Value in a grid that leaves its key to the case, the settings and the preset."""
FROZEN = "frozen"
"""The preset of lines that show an encoder before calibration."""
METHOD = ("preset", "adapter.", "objective.", "craft.", "train.")
"""Settings that do not change the frozen encoder: starts of their keys."""
FIGURES: Mapping[str, str] = {**dict(HEADINGS.items()), **{name: name for name in RECALL.values()}}
"""Headings of all figures that a line may have."""
ABOUT = ("encoder", "modality", "data", "norm", "eps")
"""What a line was measured on, whether or not the study varies it."""

AT_LEAST_ONE = Rule("a whole number from one", lambda value: COUNT.holds(value) and value >= 1)
FIGURE: Shape = {"mean": FRACTION, "low": FRACTION, "high": FRACTION, "interval": Items(FRACTION, 2)}
FIELDS: Shape = {
    "schema?": Rule(f"`{SCHEMA}`", lambda value: value == SCHEMA),
    "name?": TEXT,
    "cells": AT_LEAST_ONE,
    "finished": AT_LEAST_ONE,
    "budgets?": Each(Items(TEXT)),
    "environment?": Each(TEXT),
    "environments?": Items({"cells": COUNT, "facts": Each(TEXT)}),
    "lines": Items(
        {
            "values": Each(TEXT),
            "about?": {f"{name}?": TEXT for name in ABOUT},
            "seeds": AT_LEAST_ONE,
            "n": AT_LEAST_ONE,
            "figures": {f"{name}{'?' if name in RECALL.values() else ''}": FIGURE for name in FIGURES},
            "trainable_fraction": NUMBER,
            "estimated_fraction": NUMBER,
        },
        1,
    ),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """The mean of a share over seeds, the lowest and the highest, and the 95 % Wilson interval of the mean's count."""

    mean: float
    low: float
    high: float
    interval: tuple[float, float]

    @classmethod
    def of(cls, shares: Sequence[float], n: int) -> Figure:
        """From the share of each seed, all of the same `n` samples."""
        mean = fmean(shares)
        interval = wilson(round(mean * n), n)
        return cls(mean, min(shares), max(shares), (interval.low, interval.high))

    @property
    def spread(self) -> tuple[float, float] | None:
        """The lowest and the highest seed; None if all are equal."""
        return None if self.low == self.high else (self.low, self.high)

    def __str__(self) -> str:
        if self.spread is None:
            return percent(self.mean)
        return f"{percent(self.mean)} ({percent(self.low)} to {percent(self.high)})"

    def to_json(self) -> dict[str, Any]:
        """Fractions."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "interval": list(self.interval)}


@dataclass(frozen=True, slots=True)
class Line:
    """One row: what was calibrated, on what, with how many seeds and samples, and its figures by column."""

    values: Mapping[str, str]
    """What tells it from the other lines: keys of the grid, and `case`."""
    about: Mapping[str, str]
    """The keys of `ABOUT`; empty texts where an older document does not say."""
    seeds: int
    n: int
    figures: Mapping[str, Figure]
    trained: float
    estimated: float

    @property
    def frozen(self) -> bool:
        """Is this the encoder before calibration?"""
        return self.values.get("preset") == FROZEN

    def to_json(self) -> dict[str, Any]:
        """Plain types; shares are fractions."""
        return {
            "values": dict(self.values),
            "about": dict(self.about),
            "seeds": self.seeds,
            "n": self.n,
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
            "trainable_fraction": self.trained,
            "estimated_fraction": self.estimated,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Line:
        """Read what `to_json` wrote, or a line of an older document."""
        values = data["values"]
        keys = {"data": "data.path", "norm": "threat.norm", "eps": "threat.eps"}
        older = {name: values.get(keys.get(name, name), "") for name in ABOUT}
        figures = {
            name: Figure(float(found["mean"]), float(found["low"]), float(found["high"]), _pair(found["interval"]))
            for name, found in data["figures"].items()
        }
        return cls(
            values,
            {**older, **data.get("about", {})},
            data["seeds"],
            data["n"],
            figures,
            float(data["trainable_fraction"]),
            float(data["estimated_fraction"]),
        )


@dataclass(frozen=True, slots=True)
class Results:
    """All lines of a study, and what ran: cells, budgets of the attacks by column, machines with their cells."""

    name: str
    cells: int
    finished: int
    budgets: Mapping[str, Sequence[str]]
    environments: Sequence[tuple[int, Mapping[str, str]]]
    lines: Sequence[Line]

    def to_json(self) -> dict[str, Any]:
        """Plain types; shares are fractions."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "cells": self.cells,
            "finished": self.finished,
            "budgets": {column: list(found) for column, found in self.budgets.items()},
            "environments": [{"cells": cells, "facts": dict(facts)} for cells, facts in self.environments],
            "lines": [line.to_json() for line in self.lines],
        }

    def to_bytes(self) -> bytes:
        """As a file."""
        return (json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n").encode()

    @classmethod
    def from_json(cls, document: Mapping[str, Any], name: str) -> Results:
        """Read what `to_json` wrote; `name` is that of a document without one.

        Raises:
            BundleError: a field is missing, unknown or of another type.
        """
        try:
            check_shape(document, FIELDS, f"the results of the study `{name}`", "")
        except BundleError as error:
            hint = "give the JSON that a study wrote; `advcal-edge study FILE --tables` writes it again"
            raise BundleError(error.message, hint=hint) from error
        older = [{"cells": document["finished"], "facts": document["environment"]}] if "environment" in document else []
        return cls(
            document.get("name", name),
            document["cells"],
            document["finished"],
            document.get("budgets", {}),
            [(each["cells"], each["facts"]) for each in document.get("environments", older)],
            [Line.from_json(line) for line in document["lines"]],
        )


def columns_of(lines: Sequence[Line]) -> list[str]:
    """Columns that any of the lines has, in their order."""
    return [name for name in (*COLUMNS, *RECALL.values()) if any(name in line.figures for line in lines)]


def markdown(lines: Sequence[Line]) -> str:
    """One table; percent, means over seeds with the lowest and the highest."""
    keys = list(dict.fromkeys(key for line in lines for key in line.values))
    columns = columns_of(lines)
    heading = [*map(_plain, keys), *(FIGURES[name] for name in columns), "trained %", "estimated %", "n", "seeds"]
    rows = [heading, ["---"] * len(heading)]
    for line in lines:
        figures = [str(line.figures[name]) if name in line.figures else "-" for name in columns]
        shares = [percent(line.trained, 2), percent(line.estimated, 2)]
        own = [_plain(line.values.get(key, "-")) for key in keys]
        rows.append([*own, *figures, *shares, str(line.n), str(line.seeds)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _plain(text: str) -> str:
    """Text that neither ends a cell nor becomes markup."""
    return one_line(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _pair(found: Sequence[float]) -> tuple[float, float]:
    return float(found[0]), float(found[1])
