"""Whether a passing report in a bundle speaks of exactly the bytes that are to run, and of where they run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from advcal_edge.bundle import REPORT_SCHEMA, Bundle
from advcal_edge.errors import BundleError
from advcal_edge.stats import MARGIN
from advcal_edge.threat import ThreatModel


def has_passed(bundle: Bundle, sha256: str, place: str | None = None) -> bool:
    """Whether the bundle holds a report with verdict `pass` for exactly the engine with this hash.

    The same graph computes otherwise on another provider: where `place`, a provider or the fingerprint of a runner,
    names one, the report must have seen the graph run there.

    Raises:
        BundleError: the report was changed since it was written, or is none that this version reads.
    """
    name = f"reports/{sha256[:8]}/report.json"
    if not bundle.has(name):
        return False
    path = bundle.file(name)
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        schema, verdict, engine = report["schema"], report["verdict"], report["engine"]
        judged, seen = engine["sha256"], provider_of(engine.get("fingerprint", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(
            f"`{path}` is no report: {error!r}", hint=f"verify again: `advcal-edge verify {bundle.path}`"
        ) from error
    if schema != REPORT_SCHEMA:
        raise BundleError(
            f"`{path}` has schema `{schema}`; this version reads `{REPORT_SCHEMA}`",
            hint=f"verify again: `advcal-edge verify {bundle.path}`",
        )
    asked = None if place is None else provider_of(place)
    return bool(verdict == "pass" and judged == sha256 and asked in (None, seen) and as_strict(report, bundle))


def provider_of(fingerprint: str) -> str | None:
    """ONNX Runtime's provider that a fingerprint names; None in that of a plan."""
    return next((word for word in fingerprint.split() if word.endswith("ExecutionProvider")), None)


def as_strict(report: Mapping[str, Any], bundle: Bundle) -> bool:
    """Whether a report is about this bundle's centers and threat or a larger one, with the usual margin."""
    threat, centers = bundle.threat, bundle.manifest["files"].get("centers.safetensors", {})
    try:
        tested = ThreatModel.from_json(report["threat"])
        margin, seen = float(report["margin"]), report["hashes"]["centers"]
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"a report in `{bundle.path}` lacks {error}; expected threat, margin and hashes") from error
    same_ball = tested.norm == threat.norm and tested.bounds == threat.bounds and tested.eps >= threat.eps
    return same_ball and margin <= MARGIN and seen == centers.get("sha256")
