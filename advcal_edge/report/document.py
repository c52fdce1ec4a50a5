"""The JSON document every rendering starts from: which schema it must have, and the facts all of them state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from advcal_edge.errors import BundleError
from advcal_edge.threat import ThreatModel

SCHEMA = "advcal-edge/report/2"  # as `verify` writes it; a test holds the two together


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
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise BundleError(
            f"the report has the schema `{SCHEMA}` but is malformed: {error!r}", hint="verify again"
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
    """The first eight digits of the engine's hash, and its precision in brackets."""
    precision = report["engine"].get("precision")
    name = str(report["engine"]["sha256"])[:8]
    return f"{name} ({precision})" if precision else name


def threat_name(report: Mapping[str, Any]) -> str:
    """Norm and radius as people write them, like `linf 4/255`."""
    return str(ThreatModel.from_json(report["threat"]))


def named(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The comparison of that name."""
    by_name: dict[str, Mapping[str, Any]] = {item["name"]: item for item in report["comparisons"]}
    return by_name[name]


def tally(report: Mapping[str, Any]) -> Mapping[str, int]:
    """How many checks passed, failed and were skipped."""
    counts = Counter(check["status"] for check in report["checks"])
    return {status: counts[status] for status in ("pass", "fail", "skipped")}
