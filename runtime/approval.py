"""Whether a passing report in a bundle speaks of exactly the bytes that are to run, and of where they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advcal_edge.bundle import REPORT_SCHEMA, Bundle
from advcal_edge.commands import command
from advcal_edge.documents import parse_json
from advcal_edge.errors import BundleError
from advcal_edge.limits import REPORT_BYTES
from advcal_edge.stats import MARGIN
from advcal_edge.threat import ThreatModel


@dataclass(frozen=True, slots=True)
class Approval:
    """That a passing report speaks of an engine; the same graph computes otherwise on another provider."""

    provider: str | None
    """ONNX Runtime's provider on which it was seen to run; None for a plan."""

    def covers(self, place: str) -> bool:
        """Whether it holds on a provider, or on that which the fingerprint of a runner names."""
        return provider_of(place) in (None, self.provider)


def find_approval(bundle: Bundle, sha256: str) -> Approval | None:
    """What a report with verdict `pass` says of exactly the engine with this hash; None where there is none.

    Raises:
        BundleError: the report was changed since it was written, or is none that this version reads.
    """
    name = f"reports/{sha256[:8]}/report.json"
    if not bundle.has(name):
        return None
    where, again = f"`{bundle.path / name}`", f"verify again: `{command('verify', bundle.path)}`"
    report = parse_json(bundle.read(name, REPORT_BYTES), f"{where} is no report: it", BundleError, hint=again)
    try:
        schema, verdict, engine = report["schema"], report["verdict"], report["engine"]
        judged, seen = engine["sha256"], provider_of(engine.get("fingerprint", ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{where} is no report: {error!r}", hint=again) from error
    if schema != REPORT_SCHEMA:
        raise BundleError(f"{where} has schema `{schema}`; this version reads `{REPORT_SCHEMA}`", hint=again)
    passed = verdict == "pass" and judged == sha256 and as_strict(report, bundle)
    return Approval(seen) if passed else None


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
