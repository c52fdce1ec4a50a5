"""Findings of an audit about the signature of a bundle and the attestation of a report."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import islice
from typing import Any

from advcal_edge.attestation.attestations import attestation_name
from advcal_edge.attestation.keys import PublicKey
from advcal_edge.attestation.signature import read_signature
from advcal_edge.bundle import Bundle
from advcal_edge.errors import AdvcalError
from advcal_edge.manifest import SIGNATURE
from advcal_edge.runtime.signed import SignedBundle, changes
from advcal_edge.threat import ThreatModel
from advcal_edge.verify.attest import result_for
from advcal_edge.verify.findings import MOST, Finding
from advcal_edge.verify.history import report_folder


def signature_findings(measured: Mapping[str, Any], bundle: Bundle, key: PublicKey | None) -> list[Finding]:
    """Hold a bundle against its signature and, with a key, against who made it and what is attested of the report.

    Without a key an unsigned bundle has no findings, and a signed one is only compared with what was signed.
    """
    if key is None and not os.path.lexists(bundle.path / SIGNATURE):
        return []
    try:
        files = read_signature(bundle.path, key)
        found = [broken("signature", change, SIGNATURE) for change in islice(changes(bundle, files), MOST)]
    except AdvcalError as error:
        return [broken("signature", error.message, SIGNATURE)]
    if found:
        return found
    text = f"{len(files.sha256)} files by {files.hint[:12]}"
    fine = Finding("signature", "ok", text, text, SIGNATURE)
    return [fine] if key is None else [fine, attestation_finding(measured, SignedBundle(bundle, key, files))]


def attestation_finding(measured: Mapping[str, Any], signed: SignedBundle) -> Finding:
    """Compare the attested result with the one that follows from the report."""
    threat = ThreatModel.from_json(measured["threat"])
    name = attestation_name(f"{report_folder(signed.bundle, measured['engine']['sha256'], threat)}/report.json")
    try:
        result = signed.attested(name, measured["engine"]["sha256"])
        expected = result_for(signed.bundle, measured)
    except AdvcalError as error:
        return broken("attestation", error.message, name)
    return Finding("attestation", "ok" if result == expected else "wrong", result, expected, name)


def broken(name: str, why: str, where: str) -> Finding:
    """A finding about something that is not as it was signed."""
    return Finding(name, "wrong", why, "as signed", where)
