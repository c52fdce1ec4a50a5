"""The HTML page of a report: one self-contained file without scripts, rendered from the JSON document alone.

Its policy lets a browser use only the one style sheet of this version and pictures inside the page. If a string of a
report is ever rendered as markup, it can neither run nor fetch anything.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advcal_edge.errors import DependencyError
from advcal_edge.report.document import (
    compared,
    confidence,
    engine_name,
    foreign_norm,
    headlines,
    matrix_rows,
    modality_name,
    named,
    partner_name,
    ranking,
    reading,
    tally,
)
from advcal_edge.report.pages import Page, check_rows, linked, load_pages
from advcal_edge.report.path_plot import paths
from advcal_edge.report.plots import CurvePlot, DriftPlot, DropPlot
from advcal_edge.report.risk_plot import RiskPlot
from advcal_edge.report.typography import FILTERS
from advcal_edge.threat import ThreatModel, format_eps

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent
SHOWN = 10  # rows shown before the rest is folded
TITLES = {
    "tested": "What was tested",
    "accuracy": "Accuracy",
    "radius": "Accuracy against the radius",
    "abstention": "When to trust an answer",
    "sequential": "Looks",
    "flips": "Flips",
    "ranking": "Ranking",
    "matrix": "Crafted on, judged on",
    "routes": "Routes of attack",
    "rebuilds": "Rebuilds",
    "gallery": "Inputs that fool the engine",
    "checks": "Checks",
    "statistics": "Statistics",
    "history": "Earlier runs",
    "explanations": "What the checks ask",
    "origin": "Hashes and environment",
}
"""Sections by the name of their anchor."""


def render_html(document: Mapping[str, Any], pages: Mapping[str, Page] | None = None) -> str:
    """The page of one report; the same document gives the same bytes.

    `pages` explains the checks by name; by default those of the package.

    Raises:
        BundleError: unknown schema, or malformed.
        DependencyError: jinja2 is not installed.
    """
    try:
        from jinja2 import UndefinedError
    except ModuleNotFoundError as error:
        raise DependencyError("jinja2", extra="report", purpose="the report page") from error
    template = environment().get_template("report.html")
    with reading(document) as report:
        threat = ThreatModel.from_json(report["threat"])
        checks = check_rows(report["checks"], packaged_pages() if pages is None else pages)
        try:
            return template.render(
                report=report,
                engine=engine_name(report),
                modality=modality_name(report),
                partner=partner_name(report),
                threat=threat,
                eps=format_eps(threat.eps, threat.norm),
                foreign=foreign_norm(report),
                compared=compared(report),
                clean=named(report, "clean"),
                worst=named(report, "worst case"),
                tally=tally(report),
                drops=DropPlot.of(report["comparisons"], report["margin"]),
                drift=DriftPlot.of(document["measured"]["drift"], frozenset(report["drift"]["near_tie_samples"])),
                curve=CurvePlot.of(report["curve"], threat.eps, threat.norm) if "curve" in report else None,
                risk=RiskPlot.of(report["abstention"]) if "abstention" in report else None,
                matrix=matrix_rows(report["matrix"]) if "matrix" in report else [],
                flips=Flips.of(report),
                paths=paths(report["sequential"]) if "sequential" in report else [],
                at_most=document["measured"].get("sequential", {}).get("at_most"),
                confidence=confidence(report),
                checks=checks,
                reasons=[linked(reason, checks) for reason in report["reasons"]],
                sections=sections(report, explained=any(row.page for row in checks)),
                ranking=ranking(report),
                headlines=headlines(report),
            )
        except UndefinedError as error:
            raise LookupError(error.message) from error


@lru_cache(maxsize=1)
def packaged_pages() -> Mapping[str, Page]:
    """The explanations that ship with the package, read once."""
    return load_pages()


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Templates of this folder, compiled once; all values from the document are escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    templates.filters.update(FILTERS)
    templates.globals.update(stylesheet("style.css"))
    return templates


@lru_cache(maxsize=4)
def stylesheet(*files: str) -> Mapping[str, Any]:
    """What a page needs from style sheets of this folder, as one: `style`, and the `policy` that allows it alone."""
    from markupsafe import Markup

    style = "\n".join((FOLDER / file).read_text(encoding="utf-8").rstrip("\n") for file in files) + "\n"
    return {"style": Markup(style), "policy": policy(style)}  # noqa: S704 - files of this package


def policy(style: str) -> str:
    """Content security policy of the page: the style sheet with this text, and pictures inside the page."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page."""

    number: int
    title: str


def sections(report: Mapping[str, Any], *, explained: bool) -> Mapping[str, Section]:
    """Sections for which the report has content."""
    there = {
        "radius": "curve" in report,
        "matrix": "matrix" in report,
        "ranking": "top5" in report or "retrieval" in report,
        "rebuilds": "rebuilds" in report,
        "abstention": "abstention" in report,
        "sequential": "sequential" in report,
        "history": "history" in report,
        "gallery": bool(report["gallery"]),
        "explanations": explained,
    }
    names = [name for name in TITLES if there.get(name, True)]
    return {name: Section(number, TITLES[name]) for number, name in enumerate(names, 1)}


@dataclass(frozen=True, slots=True)
class FlipRow:
    """One sample and one comparison."""

    sample: int
    truth: str
    comparison: str
    lost_on: str
    route: str  # empty if the clean input is already wrong
    attack: str
    crafted_on: str
    near_tie: bool
    pictured: bool


@dataclass(frozen=True, slots=True)
class Flips:
    """Rows to show, rows to fold, and their number per comparison and side."""

    shown: Sequence[FlipRow]
    folded: Sequence[FlipRow]
    counts: Mapping[tuple[str, str], int]

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Flips:
        """Rows of a report: lost on the engine first, then in the order of the report."""
        near, pictured = set(report["drift"]["near_tie_samples"]), {item["sample"] for item in report["gallery"]}
        rows = [flip_row(item, near, pictured) for item in report["flips"]]
        rows.sort(key=lambda row: row.lost_on != "engine")
        shown = len(rows) if len(rows) <= SHOWN + 2 else SHOWN
        return cls(rows[:shown], rows[shown:], Counter((row.comparison, row.lost_on) for row in rows))


def flip_row(item: Mapping[str, Any], near: set[int], pictured: set[int]) -> FlipRow:
    """One entry of `flips`; `found_by` is `ROUTE: ATTACK, crafted on SIDE` or null."""
    route, attack, crafted_on = "", "", ""
    if item["found_by"] is not None:
        route, _, rest = item["found_by"].partition(": ")
        attack, _, crafted_on = rest.rpartition(", crafted on ")
    sample = int(item["sample"])
    return FlipRow(
        sample,
        item["truth"],
        item["comparison"],
        item["lost_on"],
        route,
        attack,
        crafted_on,
        sample in near,
        sample in pictured,
    )
