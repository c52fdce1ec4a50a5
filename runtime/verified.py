"""Is there a passing report for these engine bytes, at the bundle's own threat model, and for which provider?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from advcal_edge.bundle import REPORT_SCHEMA, Bundle
from advcal_edge.commands import command
from advcal_edge.documents import parse_json
from advcal_edge.errors import BundleError
from advcal_edge.limits import REPORT_BYTES
from advcal_edge.manifest import MANIFEST
from advcal_edge.stats import MARGIN

if TYPE_CHECKING:
    from advcal_edge.report.value import Value


@dataclass(frozen=True, slots=True)
class Verified:
    """A passing report on an engine; the same graph computes other values in another place."""

    provider: str | None
    """Where it was verified: ONNX Runtime's provider, or OpenVINO's device and precision; None for a plan."""
    bridged: tuple[str, ...] = ()
    """How the engine was bridged, see `Backend.bridged`."""

    def covers(self, place: str, bridged: tuple[str, ...] = ()) -> bool:
        """Does the report hold for a provider, or for the one in the fingerprint of a runner, bridged like this?"""
        return provider_of(place) in (None, self.provider) and bridged == self.bridged


def find_verified(bundle: Bundle, sha256: str) -> Verified | None:
    """The passing report on the engine with this hash; None without one at the bundle's own terms.

    The verdict is derived again from the report's measurements; its stated verdict is not trusted.

    Raises:
        BundleError: the report was changed since it was written, is malformed, or has another schema.
    """
    name = f"reports/{sha256[:8]}/report.json"
    if not bundle.has(name):
        return None
    where, again = f"`{bundle.path / name}`", f"verify again: `{command('verify', bundle.path)}`"
    report = parse_json(bundle.read(name, REPORT_BYTES), f"{where} is no report: it", BundleError, hint=again)
    schema = report.get("schema") if isinstance(report, dict) else None
    if not isinstance(schema, str):
        raise BundleError(f"{where} is no report: it has no schema", hint=again)
    if schema != REPORT_SCHEMA:
        raise BundleError(f"{where} has schema `{schema[:60]}`; this version reads `{REPORT_SCHEMA}`", hint=again)
    try:
        return judge(bundle, report.get("measured"), sha256)
    except BundleError as error:
        raise BundleError(f"{where} is no report: {error.message}", hint=again) from error


def judge(bundle: Bundle, measured: object, sha256: str) -> Verified | None:
    """Derive the verdict on an engine, and compare the report's terms with the bundle's.

    Raises:
        BundleError: malformed.
    """
    from advcal_edge.report.consistency import contradictions, is_named
    from advcal_edge.report.derive import Judgement, read_measured
    from advcal_edge.report.value import Value

    document, read = Value(measured, "measured"), read_measured(measured)
    passed = (
        read.engine == sha256
        and read.margin <= MARGIN
        and is_named(document["budget"])
        and same_terms(bundle, document)
        and not any(contradictions(document, read))
    )
    if not passed:
        return None
    judgement = Judgement.of(read)
    independent = next(check for check in judgement.checks if check.name == "independent_reference")
    if judgement.verdict != "pass" or independent.status != "pass":
        return None
    bridged = document["engine"].get("bridged")
    return Verified(
        provider_of(document["engine"]["fingerprint"].text()), () if bridged is None else tuple(bridged.texts())
    )


def same_terms(bundle: Bundle, measured: Value) -> bool:
    """Does a report use what was calibrated here with its figures, and its threat model or a larger radius?"""
    files: Mapping[str, Mapping[str, Any]] = bundle.manifest["files"]
    stated, threat, hashes = measured["threat"], bundle.threat, measured["hashes"]
    bounds = [bound.number() for bound in stated["bounds"].items()]
    return (
        stated["norm"].text() == threat.norm
        and bounds == list(threat.bounds)
        and stated["eps"].number() >= threat.eps
        and hashes["calibration"].sha256() == bundle.origin()
        and same_figures(bundle, measured["calibration"])
        and all(
            hashes[key].sha256() == files.get(name, {}).get("sha256")
            for key, name in (("centers", "centers.safetensors"), ("data", "probe.npz"))
        )
    )


def same_figures(bundle: Bundle, stated: Value) -> bool:
    """Was the reference held against the figures that the manifest states?"""
    from advcal_edge.report.calibration import stated_figures

    figures = stated_figures(bundle.manifest, f"`{bundle.path / MANIFEST}`")
    if figures is None or stated.value is None:
        return False
    return all(stated[name].value == figure for name, figure in figures.items())


def provider_of(fingerprint: str) -> str | None:
    """ONNX Runtime's provider in a fingerprint, or OpenVINO's device and precision like `CPU:f32`; None for a plan."""
    return next(
        (word for word in fingerprint.split() if word.endswith("ExecutionProvider") or word.startswith("CPU:")), None
    )
