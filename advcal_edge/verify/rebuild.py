"""The same engine built several times: does the verdict depend on the build?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Rebuilds:
    """Reports of all builds of one engine, the one that ships first; builds of equal bytes share a report."""

    reports: Sequence[Mapping[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Verdict and worst case of each build, and how far they spread."""
        builds = [build(report) for report in self.reports]
        shares = [found["worst_case"]["accuracy"] for found in builds]
        return {
            "asked": len(builds) - 1,
            "distinct": len({found["sha256"] for found in builds}),
            "builds": builds,
            "spread": max(shares) - min(shares),
        }

    @property
    def doubts(self) -> list[str]:
        """Why the verdict of the first build is not to be trusted; empty where all builds have the same."""
        verdicts = [str(report["verdict"]) for report in self.reports]
        if len(set(verdicts)) == 1:
            return []
        return [f"builds of this engine differ in their verdict: {', '.join(verdicts)}"]


def build(report: Mapping[str, Any]) -> dict[str, Any]:
    """One build in a few figures."""
    named = {item["name"]: item for item in report["comparisons"]}
    return {
        "sha256": report["engine"]["sha256"],
        "verdict": report["verdict"],
        "clean_drop": named["clean"]["drop"],
        "worst_case": named["worst case"]["engine"],
        "worst_case_drop": named["worst case"]["drop"],
    }
