"""Is there a passing report for these engine bytes, at the bundle's own threat model, and for which provider?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from advcal_edge.bundle import Bundle
from advcal_edge.commands import command
from advcal_edge.documents import parse_json
from advcal_edge.errors import BundleError
from advcal_edge.limits import REPORT_BYTES
from advcal_edge.runtime.abstention import Abstention
from advcal_edge.runtime.tested import other_files

if TYPE_CHECKING:
    from advcal_edge.report.value import Value


@dataclass(frozen=True, slots=True)
class Verified:
    """A passing report on an engine; the same graph computes other values in another place."""

    provider: str | None
    """Where it was verified: ONNX Runtime's provider, or OpenVINO's device and precision; None for a plan."""
    bridged: tuple[str, ...] = ()
    """How the engine was bridged, see `Backend.bridged`."""
    abstention: Abstention | None = None
    """When its answers may be trusted; None if the report does not say."""

    def covers(self, place: str, bridged: tuple[str, ...] = ()) -> bool:
        """Does the report hold for a provider, or for the one in the fingerprint of a runner, bridged like this?"""
        return provider_of(place) in (None, self.provider) and bridged == self.bridged


def find_verified(bundle: Bundle, sha256: str) -> Verified | None:
    """The passing report on the engine with this hash; None without one at the bundle's own terms.

    Nothing that the report concludes is trusted: the verdict is derived again. A report counts only if it states the
    same, is whole, contradicts neither itself nor the bundle, and is no laxer than `Terms` of the bundle's own threat.

    Raises:
        BundleError: the report was changed since it was written, is malformed, or has another schema.
    """
    name = f"reports/{sha256[:8]}/report.json"
    if not bundle.has(name):
        return None
    from advcal_edge.report.value import Value
    from advcal_edge.report.whole import check_whole

    where, again = f"`{bundle.path / name}`", f"verify again: `{command('verify', bundle.path)}`"
    report = parse_json(bundle.read(name, REPORT_BYTES), f"{where} is no report: it", BundleError, hint=again)
    try:
        check_whole(Value(report))
        return judge(bundle, Value(report), sha256)
    except BundleError as error:
        raise BundleError(f"{where} is no report: {error.message}", hint=again) from error


def judge(bundle: Bundle, report: Value, sha256: str) -> Verified | None:
    """Derive the verdict on an engine, and compare the report with itself, with the bundle and with its terms.

    Raises:
        BundleError: malformed.
    """
    from advcal_edge.report.consistency import contradictions
    from advcal_edge.report.derive import Judgement, read_measured
    from advcal_edge.report.differences import differs
    from advcal_edge.report.terms import Terms

    document, read = report["measured"], read_measured(report["measured"].value)
    objections = chain(
        other_files(bundle, document), Terms(bundle.threat).unmet(document, read), contradictions(document, read)
    )
    if read.engine != sha256 or any(objections):
        return None
    judgement = Judgement.of(read)
    independent = next(check for check in judgement.checks if check.name == "independent_reference")
    if judgement.verdict != "pass" or independent.status != "pass":
        return None
    if differs(report["derived"], judgement.to_json()):
        return None
    bridged = document["engine"].get("bridged")
    return Verified(
        provider_of(document["engine"]["fingerprint"].text()),
        () if bridged is None else tuple(bridged.texts()),
        Abstention.of(judgement.rule()),
    )


def provider_of(fingerprint: str) -> str | None:
    """ONNX Runtime's provider in a fingerprint, or OpenVINO's device and precision like `CPU:f32`; None for a plan."""
    return next(
        (word for word in fingerprint.split() if word.endswith("ExecutionProvider") or word.startswith("CPU:")), None
    )
