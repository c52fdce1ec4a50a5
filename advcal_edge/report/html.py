"""The page for people: one self-contained file without scripts, rendered from the JSON document alone.

Its policy lets a browser use the one style sheet of this version and pictures inside the page, and nothing else: should
a string of a report ever come through as markup, it neither runs nor fetches.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advcal_edge.errors import DependencyError
from advcal_edge.report.checks import check_rows, linked
from advcal_edge.report.curve import CurvePlot
from advcal_edge.report.document import (
    engine_name,
    foreign_norm,
    matrix_rows,
    modality_name,
    named,
    partner_name,
    reading,
    tally,
)
from advcal_edge.report.drift import DriftPlot
from advcal_edge.report.drops import DropPlot
from advcal_edge.report.flips import Flips
from advcal_edge.report.pages import Page, load_pages
from advcal_edge.report.ranking import headlines, ranking
from advcal_edge.report.sections import sections
from advcal_edge.report.typography import FILTERS
from advcal_edge.threat import ThreatModel, format_eps

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent


def render_html(report: Mapping[str, Any], pages: Mapping[str, Page] | None = None) -> str:
    """The page of one report; the same document gives the same bytes.

    `pages` explains the checks by name: those of the package unless given.

    Raises:
        BundleError: unknown schema, or malformed.
        DependencyError: jinja2 is not installed.
    """
    try:
        from jinja2 import UndefinedError
    except ModuleNotFoundError as error:
        raise DependencyError("jinja2", extra="report", purpose="the report page") from error
    template = environment().get_template("report.html")
    with reading(report):
        threat = ThreatModel.from_json(report["threat"])
        checks = check_rows(report["checks"], load_pages() if pages is None else pages)
        try:
            return template.render(
                report=report,
                engine=engine_name(report),
                modality=modality_name(report),
                partner=partner_name(report),
                threat=threat,
                eps=format_eps(threat.eps, threat.norm),
                foreign=foreign_norm(report),
                clean=named(report, "clean"),
                worst=named(report, "worst case"),
                tally=tally(report),
                drops=DropPlot.of(report["comparisons"], report["margin"]),
                drift=DriftPlot.of(report["drift"]),
                curve=CurvePlot.of(report["curve"], threat.eps, threat.norm) if "curve" in report else None,
                matrix=matrix_rows(report["matrix"]) if "matrix" in report else [],
                flips=Flips.of(report),
                checks=checks,
                reasons=[linked(reason, checks) for reason in report["reasons"]],
                sections=sections(report, explained=any(row.page for row in checks)),
                ranking=ranking(report),
                headlines=headlines(report),
            )
        except UndefinedError as error:
            raise LookupError(error.message) from error


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Templates of this folder, compiled once; everything from the document is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    found = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    style = (FOLDER / "style.css").read_text(encoding="utf-8")
    found.filters.update(FILTERS)
    found.globals.update(style=Markup(style), policy=policy(style))  # noqa: S704 - a file of this package
    return found


def policy(style: str) -> str:
    """What a browser may load for the page: the style sheet with this text, and pictures that the page holds."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
