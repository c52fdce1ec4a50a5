"""The parts of the page in their order, numbered, so that a printed page can be referred to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TITLES = {
    "tested": "What was tested",
    "accuracy": "Accuracy",
    "radius": "Accuracy against the radius",
    "flips": "Flips",
    "ranking": "Ranking",
    "matrix": "Crafted on, judged on",
    "routes": "Routes of attack",
    "rebuilds": "Rebuilds",
    "gallery": "Inputs that fool the engine",
    "checks": "Checks",
    "statistics": "Statistics",
    "explanations": "What the checks ask",
    "origin": "Hashes and environment",
}
"""By the name of the anchor."""


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page."""

    number: int
    title: str


def sections(report: Mapping[str, Any], *, explained: bool) -> Mapping[str, Section]:
    """Those that a report has something for."""
    there = {
        "radius": "curve" in report,
        "matrix": "matrix" in report,
        "ranking": "top5" in report or "retrieval" in report,
        "rebuilds": "rebuilds" in report,
        "gallery": bool(report["gallery"]),
        "explanations": explained,
    }
    names = [name for name in TITLES if there.get(name, True)]
    return {name: Section(number, TITLES[name]) for number, name in enumerate(names, 1)}
