"""The document behind every rendering: its schema, the facts that all renderings state, and rows of rankings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from advcal_edge.bundle import REPORT_SCHEMA
from advcal_edge.errors import AdvcalError, BundleError
from advcal_edge.report.measured import IDENTITY
from advcal_edge.stats import LEVEL
from advcal_edge.threat import ThreatModel

Sides = tuple[Mapping[str, Any], Mapping[str, Any]]
"""A share with its interval on the reference and on the engine."""

DECIDING = "recall@10 to partner"
DIRECTIONS = {"forward": "to partner", "backward": "from partner"}


@contextmanager
def reading(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The data that a rendering shows: the derived half and the identifying part of the measured half, in one mapping.

    Another schema is refused, and any missing field inside the `with` block becomes one error.

    Raises:
        BundleError: unknown schema, or a field that is missing or of the wrong type.
    """
    schema = document.get("schema")
    if schema != REPORT_SCHEMA:
        raise BundleError(
            f"the report has schema `{schema}`; this version reads `{REPORT_SCHEMA}`",
            hint="verify again, or install the version of advcal-edge that wrote it",
        )
    try:
        measured, derived = document["measured"], document["derived"]
        yield {"schema": schema, **{name: measured[name] for name in IDENTITY}, **derived}
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AdvcalError) as error:
        reason = error.message if isinstance(error, AdvcalError) else repr(error)
        raise BundleError(
            f"the report has the schema `{REPORT_SCHEMA}` but is malformed: {reason}", hint="verify again"
        ) from error


def modality_name(report: Mapping[str, Any]) -> str:
    """The kind of sensor if the context names it, else an empty string."""
    modality = report["context"].get("modality", "")
    return str(modality["name"] if isinstance(modality, Mapping) else modality)


def partner_name(report: Mapping[str, Any]) -> str:
    """The kind of sensor of the partners if the context names it, else an empty string."""
    data = report["context"].get("data")
    return str(data.get("partner") or "") if isinstance(data, Mapping) else ""


def engine_name(report: Mapping[str, Any]) -> str:
    """The first eight digits of the engine's hash, in brackets its precision and the step of the precision fallback."""
    details = [report["engine"][key] for key in ("precision", "step") if report["engine"].get(key)]
    name = str(report["engine"]["sha256"])[:8]
    return f"{name} ({', '.join(map(str, details))})" if details else name


def foreign_norm(report: Mapping[str, Any]) -> str:
    """A note if the attacks had another norm or radius than the bundle's own, else an empty string."""
    stated = report["context"].get("threat")
    if not isinstance(stated, Mapping):
        return ""
    own = ThreatModel.from_json(stated)
    other = "norm" if own.norm != report["threat"]["norm"] else "radius"
    if other == "radius" and own.eps == report["threat"]["eps"]:
        return ""
    if compared(report):
        return f"The samples were stored to be attacked in {own}. This report is about another {other}."
    return f"The bundle was calibrated against {own}. This report is about another {other} and does not verify it."


def compared(report: Mapping[str, Any]) -> str:
    """The model that candidates were compared with, and its kind, if there was no bundle; else an empty string."""
    found = report["context"].get("comparison")
    return f"{found.get('reference')} ({found.get('kind')})" if isinstance(found, Mapping) else ""


def threat_name(report: Mapping[str, Any]) -> str:
    """Norm and radius in the usual notation, like `linf 4/255`."""
    return str(ThreatModel.from_json(report["threat"]))


def named(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The comparison with this name."""
    by_name: dict[str, Mapping[str, Any]] = {item["name"]: item for item in report["comparisons"]}
    return by_name[name]


def matrix_rows(matrix: Mapping[str, Any]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Names and cells of the matrix, in the order of its columns, so that the diagonal is each model on itself."""
    rows = list(zip(matrix["crafted_on"], matrix["robust"], strict=True))
    columns = {name: k for k, name in enumerate(matrix["judged_on"])}
    return sorted(rows, key=lambda row: columns.get(row[0], len(columns)))


def confidence(report: Mapping[str, Any]) -> str:
    """Confidence of the intervals of drops: 95 %, or more if the engine was tried before."""
    level = report["history"]["level"] if "history" in report else LEVEL
    return f"{100 * (1 - 2 * level):.4g} %"


def tally(report: Mapping[str, Any]) -> Mapping[str, int]:
    """Number of checks that passed, failed and were skipped."""
    counts = Counter(check["status"] for check in report["checks"])
    return {status: counts[status] for status in ("pass", "fail", "skipped")}


@dataclass(frozen=True, slots=True)
class RankingRow:
    """One depth of one ranking, clean and in the worst case under attack."""

    name: str
    clean: Sides
    attacked: Sides


def ranking(report: Mapping[str, Any]) -> list[RankingRow]:
    """Rows for `top5` and `retrieval`; empty for a report with neither."""
    return [*top_rows(report), *recall_rows(report)]


def headlines(report: Mapping[str, Any]) -> list[RankingRow]:
    """Rows for the top of a page: top-5, and the recall that decides."""
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
                sides({side: shares[direction][depth] for side, shares in clean.items()}),
                sides({side: shares[direction][depth] for side, shares in attacked.items()}),
            )


def sides(shares: Mapping[str, Mapping[str, Any]]) -> Sides:
    """Reference and engine."""
    return shares["reference"], shares["engine"]
