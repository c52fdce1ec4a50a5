"""The JSON document every rendering starts from: which schema it must have, and the facts all of them state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from advcal_edge.bundle import REPORT_SCHEMA
from advcal_edge.errors import AdvcalError, BundleError
from advcal_edge.threat import ThreatModel

SCHEMA = REPORT_SCHEMA


@contextmanager
def reading(report: Mapping[str, Any]) -> Iterator[None]:
    """Refuse another schema, and turn whatever is missing inside into one error.

    Raises:
        BundleError: unknown schema, or a field that is missing or of the wrong type.
    """
    found = report.get("schema")
    if found != SCHEMA:
        raise BundleError(
            f"the report has schema `{found}`; this version reads `{SCHEMA}`",
            hint="verify again, or install the version of advcal-edge that wrote it",
        )
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AdvcalError) as error:
        reason = error.message if isinstance(error, AdvcalError) else repr(error)
        raise BundleError(
            f"the report has the schema `{SCHEMA}` but is malformed: {reason}", hint="verify again"
        ) from error


def modality_name(report: Mapping[str, Any]) -> str:
    """The kind of sensor, where the context names it, else an empty string."""
    modality = report["context"].get("modality", "")
    return str(modality["name"] if isinstance(modality, Mapping) else modality)


def partner_name(report: Mapping[str, Any]) -> str:
    """The kind of sensor that the partners come from, where the context names it, else an empty string."""
    data = report["context"].get("data")
    return str(data.get("partner") or "") if isinstance(data, Mapping) else ""


def engine_name(report: Mapping[str, Any]) -> str:
    """The first eight digits of the engine's hash, in brackets its precision and the ladder's step."""
    told = [report["engine"][key] for key in ("precision", "step") if report["engine"].get(key)]
    name = str(report["engine"]["sha256"])[:8]
    return f"{name} ({', '.join(map(str, told))})" if told else name


def foreign_norm(report: Mapping[str, Any]) -> str:
    """What to say where the attacks had another norm than the bundle's own, else nothing."""
    stated = report["context"].get("threat")
    if not isinstance(stated, Mapping):
        return ""
    own = ThreatModel.from_json(stated)
    if own.norm == report["threat"]["norm"]:
        return ""
    return f"The bundle was calibrated against {own}. This report is about another norm and does not verify it."


def threat_name(report: Mapping[str, Any]) -> str:
    """Norm and radius as people write them, like `linf 4/255`."""
    return str(ThreatModel.from_json(report["threat"]))


def named(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The comparison of that name."""
    by_name: dict[str, Mapping[str, Any]] = {item["name"]: item for item in report["comparisons"]}
    return by_name[name]


def matrix_rows(matrix: Mapping[str, Any]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Names and cells of the matrix, in the order of its columns, so that the models' own cells lie on the diagonal."""
    rows = list(zip(matrix["crafted_on"], matrix["robust"], strict=True))
    columns = {name: k for k, name in enumerate(matrix["judged_on"])}
    return sorted(rows, key=lambda row: columns.get(row[0], len(columns)))


def tally(report: Mapping[str, Any]) -> Mapping[str, int]:
    """How many checks passed, failed and were skipped."""
    counts = Counter(check["status"] for check in report["checks"])
    return {status: counts[status] for status in ("pass", "fail", "skipped")}
