"""What the check of a stored report finds: a value, what it should be, and where it stands."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal

from advcal_edge.report.value import Value, shown

FindingStatus = Literal["ok", "wrong", "unchecked"]
SLACK = 1e-9  # intervals are found by bisection, and other machines round otherwise
MOST = 10  # differences of one subject that are listed


@dataclass(frozen=True, slots=True)
class Finding:
    """What a document states, what it should state, and where; `unchecked` where nothing at hand can confirm it."""

    name: str
    status: FindingStatus
    found: str
    expected: str
    where: str

    def to_json(self) -> dict[str, Any]:
        """Plain types for the command line."""
        return asdict(self)


def compare(name: str, stated: Value, expected: object) -> list[Finding]:
    """Compare a value, an object or a list with what it should be: one finding, or one per difference.

    Raises:
        BundleError: a value of another kind than expected.
    """
    different = list(islice(differences(name, stated, expected), MOST))
    short = "" if isinstance(expected, (list, dict)) else shown(expected)
    return different or [Finding(name, "ok", short, short, stated.path)]


def differences(name: str, stated: Value, expected: object) -> Iterator[Finding]:
    """Every place in which a value is not as expected."""
    if expected is None or stated.value is None:
        same = stated.value is expected
    elif isinstance(expected, bool):
        same = stated.truth() is expected
    elif isinstance(expected, int):
        same = stated.integer() == expected
    elif isinstance(expected, float):
        same = math.isclose(stated.number(), expected, rel_tol=SLACK, abs_tol=SLACK)
    elif isinstance(expected, str):
        same = stated.text() == expected
    elif isinstance(expected, list):
        items = stated.items()
        same = len(items) == len(expected)
        for item, wanted in zip(items, expected, strict=False):
            yield from differences(name, item, wanted)
    elif isinstance(expected, Mapping):
        same = stated.object().keys() == expected.keys()
        for key in expected:
            if key in stated.object():
                yield from differences(name, stated[key], expected[key])
    else:
        raise TypeError(f"nothing can be compared with a {type(expected).__name__}")
    if not same:
        yield wrong(name, stated, expected)


def wrong(name: str, stated: Value, expected: object) -> Finding:
    """A difference."""
    return Finding(name, "wrong", summary(stated.value), summary(expected), stated.path)


def summary(value: object) -> str:
    """A value for a message; of an object its keys."""
    return f"keys {', '.join(sorted(value))}" if isinstance(value, Mapping) else shown(value)


def unchecked(name: str, stated: Value, why: str) -> Finding:
    """What nothing at hand can confirm; `why` stands in the place of what was expected."""
    return Finding(name, "unchecked", shown(stated.value), why, stated.path)


def ok(name: str, stated: Value) -> Finding:
    """What was looked at and is right."""
    return Finding(name, "ok", shown(stated.value), shown(stated.value), stated.path)


def merge(findings: list[Finding], whole: Finding) -> list[Finding]:
    """What is wrong in the parts of a subject, or that all of it is right."""
    return [item for item in findings if item.status != "ok"] or [whole]
