"""report.json: the measurements of one engine, and the conclusions derived from them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from advcal_edge.bundle import REPORT_SCHEMA
from advcal_edge.report.derive import derive
from advcal_edge.report.measured import BUILD, BUILD_IF_PRESENT
from advcal_edge.report.nodes import NodeRanking

NUMBERS = re.compile(r"\[\n\s+(-?[0-9][-+.0-9e]*(?:,\n\s+-?[0-9][-+.0-9e]*)*)\n\s+\]")


@dataclass(frozen=True, eq=False)
class Report:
    """One engine compared with its reference on the same samples; all shares are fractions."""

    measured: Mapping[str, Any]
    """Plain types, as `report.json` holds them."""

    @cached_property
    def derived(self) -> dict[str, Any]:
        """Verdict, comparisons, checks and every other figure."""
        return derive(self.measured)

    @property
    def verdict(self) -> str:
        """`pass`, `fail` or `inconclusive`."""
        return str(self.derived["verdict"])

    @property
    def reasons(self) -> list[str]:
        """Reasons why the verdict is not a pass; empty for a pass."""
        reasons: list[str] = self.derived["reasons"]
        return reasons

    @property
    def engine(self) -> Mapping[str, Any]:
        """Path, precision and hash of the engine."""
        engine: Mapping[str, Any] = self.measured["engine"]
        return engine

    def with_fallback(
        self,
        asked: str,
        earlier: Sequence[Mapping[str, Any]],
        kept: Sequence[str] = (),
        ranking: NodeRanking | None = None,
    ) -> Report:
        """The same report with the precision that was requested and the steps tried that did not pass.

        After a ranking of nodes, also with it and the names of those that this engine keeps in fp32.
        """
        fallback: dict[str, Any] = {"asked": asked, "earlier": [dict(step) for step in earlier]}
        if ranking is not None:
            fallback |= {"kept": list(kept), "ranking": ranking.to_json()}
        return Report({**self.measured, "fallback": fallback})

    def with_rebuilds(self, others: Sequence[Report]) -> Report:
        """The same report with the results of other builds; a verdict that depends on the build is inconclusive."""
        builds = [str(report.engine["sha256"]) for report in (self, *others)]
        measured = {
            sha256: {name: report.measured[name] for name in (*BUILD, *BUILD_IF_PRESENT) if name in report.measured}
            for sha256, report in zip(builds[1:], others, strict=True)
            if sha256 != builds[0]
        }
        return Report({**self.measured, "rebuilds": {"builds": builds, "measured": measured}})

    def to_json(self) -> dict[str, Any]:
        """The document from which every rendering is made and which can be audited."""
        return {"schema": REPORT_SCHEMA, "measured": dict(self.measured), "derived": self.derived}


def to_bytes(document: Mapping[str, Any]) -> bytes:
    """A document as the file `report.json`: indented, with each list of numbers on one line."""
    text = json.dumps(document, indent=1, allow_nan=False)
    return (NUMBERS.sub(lambda match: f"[{' '.join(match[1].split())}]", text) + "\n").encode()
