"""Checks as rows of the page, each linked to its explanation, and reasons linked to their rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advcal_edge.report.pages import Page

NAMED = re.compile(r"check (?P<name>\S+?)(?=:| was skipped)")


@dataclass(frozen=True, slots=True)
class CheckRow:
    """A check, the anchor of its row, and its explanation where the package has one."""

    check: Mapping[str, Any]
    anchor: str
    page: Page | None


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason in three parts; the middle one names the check whose row is at `anchor`."""

    before: str
    name: str
    after: str
    anchor: str


def check_rows(checks: Sequence[Mapping[str, Any]], pages: Mapping[str, Page]) -> list[CheckRow]:
    """One row a check, in the order of the report."""
    rows: list[CheckRow] = []
    for number, check in enumerate(checks, 1):
        plain = re.fullmatch(r"\w+", check["name"], re.ASCII)
        anchor = check["name"] if plain and all(row.anchor != check["name"] for row in rows) else str(number)
        rows.append(CheckRow(check, anchor, pages.get(check["name"])))
    return rows


def linked(reason: str, rows: Sequence[CheckRow]) -> Reason:
    """A reason with the check that it names set apart."""
    match = NAMED.match(reason)
    for row in rows if match else ():
        if match and row.check["name"] == match["name"]:
            start, end = match.span("name")
            return Reason(reason[:start], reason[start:end], reason[end:], row.anchor)
    return Reason(reason, "", "", "")
