"""What someone with a key can sign: the files as they are, or another statement than the honest one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from advcal_edge.attestation import PrivateKey
from advcal_edge.attestation.attestations import attestation_name
from advcal_edge.attestation.envelope import Envelope
from advcal_edge.attestation.signature import sign_folder
from advcal_edge.attestation.statement import Statement
from advcal_edge.storage import sha256_file


def sign_again(bundle: Path, key: Path) -> None:
    """Sign the files as they are, whatever they are."""
    (bundle / "model.sig").write_bytes(sign_folder(bundle, PrivateKey.read(key)))


def resign(folder: Path, key: Path, **changes: Any) -> None:
    """Sign the statement of `model.sig` with other members; `predicate` replaces members of the predicate."""
    statement = statement_in(folder).to_json()
    statement["predicate"] |= changes.pop("predicate", {})
    sign_payload(folder, key, json.dumps({**statement, **changes}).encode())


def sign_payload(folder: Path, key: Path, payload: bytes) -> None:
    """Put any payload into `model.sig`, with a signature that fits."""
    path = folder / "model.sig"
    document = json.loads(path.read_text())
    document["dsseEnvelope"] = Envelope.sign(payload, PrivateKey.read(key)).to_json()
    path.write_text(json.dumps(document))


def statement_in(folder: Path) -> Statement:
    """The statement of `model.sig`."""
    envelope = json.loads((folder / "model.sig").read_text())["dsseEnvelope"]
    return Statement.parse(Envelope.read(envelope, "it").payload, "it")


def attestations_of(bundle: Path, precision: str) -> Path:
    """The file of attestations about the graph of a precision."""
    digest = sha256_file(bundle / "onnx" / f"forward.{precision}.onnx")
    return bundle / attestation_name(f"reports/{digest[:8]}/report.json")


def statements_in(path: Path) -> list[Statement]:
    """The statements of a file of attestations."""
    lines = path.read_text().splitlines()
    return [Statement.parse(Envelope.read(json.loads(line), "it").payload, "it") for line in lines]
