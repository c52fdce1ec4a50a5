"""Attest what the reports of a bundle show: a signed statement per report, and one signature over the whole bundle."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advcal_edge.attestation.attestations import (
    BUNDLE,
    ENGINE,
    ROBUSTNESS,
    TEST_RESULT,
    attestation_name,
    sign_statements,
)
from advcal_edge.attestation.keys import PrivateKey
from advcal_edge.attestation.predicates import Result, result_of, robustness, test_result
from advcal_edge.attestation.signature import sign_folder
from advcal_edge.attestation.statement import Statement
from advcal_edge.bundle import Bundle
from advcal_edge.changes import exclusive
from advcal_edge.commands import command
from advcal_edge.documents import parse_json
from advcal_edge.errors import BundleChangedError, BundleError, ConfigError
from advcal_edge.expectations import selftest_beside
from advcal_edge.leftovers import discard
from advcal_edge.limits import REPORT_BYTES
from advcal_edge.manifest import ATTESTATION, MANIFEST, SIGNATURE
from advcal_edge.report.derive import Judgement, read_measured
from advcal_edge.runtime.engine import listed_digest
from advcal_edge.runtime.verified import find_verified
from advcal_edge.storage import sha256_file, tree, write_atomic
from advcal_edge.verify.audit import audit

REPORT = "/report.json"
LISTED = ("probe.npz", "centers.safetensors")


@dataclass(frozen=True, slots=True)
class Attested:
    """One report with what is stated about it."""

    report: str
    result: Result
    statements: tuple[Statement, Statement]
    """The test result, and the figures."""

    @property
    def engine(self) -> str:
        """sha256 of the engine."""
        return self.statements[0].subjects[ENGINE]


@dataclass(frozen=True, slots=True)
class Attestation:
    """What is stated about a bundle, and the reports about which nothing is."""

    attested: tuple[Attested, ...]
    left_out: Mapping[str, str]
    """Why, by the name of the report."""


def draft(bundle: Bundle) -> Attestation:
    """What can be stated about a bundle: two statements for each report that holds, as `verify --check` finds it.

    Raises:
        BundleError: no report, none that holds, or a file that was changed.
    """
    reports = [name for name in bundle.manifest["files"] if name.startswith("reports/") and name.endswith(REPORT)]
    attested, left_out = [], {}
    for name in reports:
        document = parse_json(bundle.read(name, REPORT_BYTES), f"`{bundle.path / name}`", BundleError)
        try:
            # a pass on other terms than the bundle's may be attested: it is a warning, see `result_of`
            findings = [finding for finding in audit(document, bundle) if finding.name != "terms"]
        except BundleError as error:
            left_out[name] = error.message
            continue
        wrong = next((finding for finding in findings if finding.status == "wrong"), None)
        if wrong is not None:
            left_out[name] = f"{wrong.where} is {wrong.found}; expected {wrong.expected}"
            continue
        unconfirmed = [finding.name for finding in findings if finding.status == "unchecked"]
        attested.append(attest_report(bundle, name, document["measured"], unconfirmed))
    if not attested:
        why = "; ".join(f"`{name}` does not hold: {reason}" for name, reason in left_out.items())
        raise BundleError(
            f"`{bundle.path}` has no report to attest{f': {why}' if why else ''}",
            hint=f"make one: `{command('verify', bundle.path)}`",
        )
    return Attestation(tuple(attested), left_out)


def attest_report(bundle: Bundle, name: str, measured: Mapping[str, Any], unconfirmed: list[str]) -> Attested:
    """The two statements about one report that holds."""
    judgement, result = Judgement.of(read_measured(measured)), result_for(bundle, measured)
    files, stored = bundle.manifest["files"], selftest_beside(name)
    report = (name, str(files[name]["sha256"]))
    selftest = (stored, str(files[stored]["sha256"])) if bundle.has(stored) else None
    about = dict(subjects(bundle, name, measured))
    statements = (
        Statement(TEST_RESULT, about, test_result(judgement, measured, result, report)),
        Statement(ROBUSTNESS, about, robustness(judgement, measured, unconfirmed, report, selftest)),
    )
    return Attested(name, result, statements)


def result_for(bundle: Bundle, measured: Mapping[str, Any]) -> Result:
    """The result of a report in a bundle: PASSED only if the runtime takes it for the engine's verification."""
    judgement = Judgement.of(read_measured(measured))
    own = measured["threat"]["norm"] == bundle.threat.norm  # a report on another norm lies beside the one that counts
    return result_of(judgement, own and find_verified(bundle, judgement.measured.engine) is not None)


def subjects(bundle: Bundle, report: str, measured: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Engine with its weights, identity of the bundle, manifest, report, samples, centers, and graphs, by sha256."""
    files, hashes = bundle.manifest["files"], measured["hashes"]
    yield ENGINE, measured["engine"]["sha256"]
    yield BUNDLE, bundle.identity()
    yield MANIFEST, sha256_file(bundle.path / MANIFEST)
    wanted = {measured["engine"]["sha256"], measured["reference"].get("sha256"), hashes["graph"], hashes["gradient"]}
    for name in files:
        model = name.startswith(("onnx/", "engines/", "reference/"))
        if name == report or name in LISTED or (model and listed_digest(bundle, name) in wanted):
            yield name, files[name]["sha256"]


def attest(bundle: Bundle, key: PrivateKey) -> Attestation:
    """Sign what the reports show, and the bundle as a whole; earlier attestations and signatures are replaced.

    Nobody else can write the bundle meanwhile. If this process dies, the old signature no longer fits and is refused.

    Raises:
        BundleError: as for `draft`, or the bundle cannot be written.
        BundleChangedError: another command changed it since it was opened.
        BundleInUseError: another process is writing it and does not finish in time.
        SignatureError: it contains a link or a file that is too large.
    """
    with exclusive(bundle.path):
        if Bundle.open(bundle.path).manifest != bundle.manifest:
            raise BundleChangedError(f"another command changed `{bundle.path}`", hint="run the command again")
        found = draft(bundle)
        made = {attestation_name(item.report): sign_statements(item.statements, key) for item in found.attested}
        for path in tree(bundle.path):
            name = path.relative_to(bundle.path).as_posix()
            if ATTESTATION.fullmatch(name) and name not in made:
                discard(path, bundle.path)
        for name, content in made.items():
            write_atomic(bundle.path / name, content)
        write_atomic(bundle.path / SIGNATURE, sign_folder(bundle.path, key))
    return found


def refuse_key_inside(bundle: Path, key: Path) -> None:
    """Refuse a private key that lies in the bundle, and would travel with it.

    Raises:
        ConfigError: it does.
    """
    if Path(os.path.abspath(key)).is_relative_to(os.path.abspath(bundle)) or key.resolve().is_relative_to(
        bundle.resolve()
    ):
        raise ConfigError(
            f"the private key `{key}` lies in the bundle, and whoever gets the bundle would get it",
            hint="move it elsewhere; if others had access to the bundle, make a new pair",
        )
