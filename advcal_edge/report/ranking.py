"""Beyond the first place: labels among the best five, and partners found, as far as a report holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Sides = tuple[Mapping[str, Any], Mapping[str, Any]]
"""A share with its interval on the reference and on the engine."""

DECIDING = "recall@10 to partner"
DIRECTIONS = {"forward": "to partner", "backward": "from partner"}


@dataclass(frozen=True, slots=True)
class RankingRow:
    """One depth of one ranking, clean and at worst under attack."""

    name: str
    clean: Sides
    attacked: Sides


def ranking(report: Mapping[str, Any]) -> list[RankingRow]:
    """Rows for `top5` and `retrieval`; empty for a report with neither."""
    return [*top_rows(report), *recall_rows(report)]


def headlines(report: Mapping[str, Any]) -> list[RankingRow]:
    """What belongs to the top of a page: top-5, and the recall that decides."""
    return [*top_rows(report), *(row for row in recall_rows(report) if row.name == DECIDING)]


def top_rows(report: Mapping[str, Any]) -> Iterator[RankingRow]:
    """The true label among the best five."""
    if "top5" in report:
        top = report["top5"]
        yield RankingRow(f"top-5 of {top['labels']} labels", sides(top["clean"]), sides(top["worst case"]))


def recall_rows(report: Mapping[str, Any]) -> Iterator[RankingRow]:
    """Each direction of retrieval, each depth."""
    if "retrieval" not in report:
        return
    clean, attacked = report["retrieval"]["clean"], report["retrieval"]["attacked"]
    for direction, words in DIRECTIONS.items():
        for depth in clean["reference"][direction]:
            yield RankingRow(
                f"{depth} {words}",
                sides({side: found[direction][depth] for side, found in clean.items()}),
                sides({side: found[direction][depth] for side, found in attacked.items()}),
            )


def sides(found: Mapping[str, Mapping[str, Any]]) -> Sides:
    """Reference and engine."""
    return found["reference"], found["engine"]
