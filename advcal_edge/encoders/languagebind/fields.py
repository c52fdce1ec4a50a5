"""Fields of one object in `config.json`, checked as they are asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from advcal_edge.errors import InputError

MOST = 2**18  # of anything counted; the largest in the published files is a vocabulary of 49,408
DEEPEST = 1024  # layers: each is built, in Python, before its weights are looked for


@dataclass(frozen=True, slots=True)
class Fields:
    """One object of the file at `path`, its defaults filled in."""

    path: Path
    values: Mapping[str, Any]

    def refuse(self, name: str, expected: str) -> NoReturn:
        """Raise an InputError that says what a field is and what it should be."""
        found = repr(self.values.get(name))[:80]
        raise InputError(f"`{name}` in `{self.path}` is {found}; expected {expected}", hint="download the folder again")

    def number(self, name: str, *, positive: bool = False) -> float:
        """A finite number, above zero where only such a one makes sense."""
        value = self.values[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            self.refuse(name, "a number")
        if positive and not value > 0:
            self.refuse(name, "a number above zero")
        return float(value)

    def count(self, name: str, *, least: int = 1, most: int = MOST) -> int:
        """A whole number, which upstream's files may write as 0.0."""
        value = self.number(name)
        if value != int(value) or not least <= value <= most:
            self.refuse(name, f"a whole number from {least} to {most}")
        return int(value)

    def size(self, name: str) -> tuple[int, int]:
        """Height and width: one number for both, or a list of two."""
        value = self.values[name]
        if isinstance(value, list) and len(value) == 2:
            height, width = (Fields(self.path, {name: side}).count(name) for side in value)
            return height, width
        return self.count(name), self.count(name)
