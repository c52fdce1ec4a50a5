"""Findings of an audit: a value, what it should be, and where it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal

from advcal_edge.report.differences import differences
from advcal_edge.report.value import Value, shown

FindingStatus = Literal["ok", "wrong", "unchecked"]
MOST = 10  # differences listed per subject


@dataclass(frozen=True, slots=True)
class Finding:
    """What a document states, what it should state, and where; `unchecked` if it cannot be confirmed."""

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
    different = [wrong(name, *found) for found in islice(differences(stated, expected), MOST)]
    short = "" if isinstance(expected, (list, dict)) else shown(expected)
    return different or [Finding(name, "ok", short, short, stated.path)]


def wrong(name: str, stated: Value, expected: object) -> Finding:
    """A finding about a difference."""
    return Finding(name, "wrong", summary(stated.value), summary(expected), stated.path)


def summary(value: object) -> str:
    """A value for a message; for an object its keys."""
    return f"keys {', '.join(sorted(value))}" if isinstance(value, Mapping) else shown(value)


def unchecked(name: str, stated: Value, why: str) -> Finding:
    """A finding that cannot be confirmed; `why` takes the place of the expected value."""
    return Finding(name, "unchecked", shown(stated.value), why, stated.path)


def ok(name: str, stated: Value) -> Finding:
    """A finding about a value that is right."""
    return Finding(name, "ok", shown(stated.value), shown(stated.value), stated.path)


def merge(findings: list[Finding], whole: Finding) -> list[Finding]:
    """The findings of the parts that are wrong, or `whole` if all parts are right."""
    return [item for item in findings if item.status != "ok"] or [whole]
