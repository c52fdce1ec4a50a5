"""Files of attestations: one per report, each line a DSSE envelope (the in-toto attestation bundle, `.intoto.jsonl`).

https://github.com/in-toto/attestation/blob/main/spec/v1/bundle.md
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from advcal_edge import limits
from advcal_edge.attestation.envelope import Envelope
from advcal_edge.attestation.keys import PrivateKey, PublicKey
from advcal_edge.attestation.signature import signing
from advcal_edge.attestation.statement import Statement
from advcal_edge.documents import parse_json
from advcal_edge.errors import SignatureError
from advcal_edge.storage import read_bytes

ENGINE, BUNDLE = "engine", "bundle"
"""Subjects that are no files: the hash of the engine with its weights, and the identity of the bundle."""
MOST_STATEMENTS = 16
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
ROBUSTNESS = "https://advcal-edge/robustness/v0.1"
"""Types of the two predicates. Ours is a name and no address: a host without a dot belongs to nobody."""


def attestation_name(report: str) -> str:
    """Where the attestations of `reports/FOLDER/report.json` lie in a bundle."""
    return f"attestations/{PurePosixPath(report).parent.name}.intoto.jsonl"


def sign_statements(statements: Iterable[Statement], key: PrivateKey) -> bytes:
    """The content of a file of attestations."""
    return b"".join(json.dumps(Envelope.sign(one.encode(), key).to_json()).encode() + b"\n" for one in statements)


def read_attestations(folder: Path, name: str, key: PublicKey) -> list[Statement]:
    """The statements in a file of attestations, all of them signed with `key`.

    Raises:
        SignatureError: missing, malformed, or one that was not signed with this key.
    """
    path = folder / name
    if not path.is_file():
        raise SignatureError(f"`{folder}` has no attestation `{name}`", hint=signing(folder))
    lines = read_bytes(path, limits.DOCUMENT_BYTES, SignatureError, follow=False).splitlines()
    if not 0 < len(lines) <= MOST_STATEMENTS:
        raise SignatureError(f"`{path}` has {len(lines)} statements; expected 1 to {MOST_STATEMENTS}")
    statements = []
    for number, line in enumerate(lines, 1):
        where = f"`{path}` line {number}"
        envelope = Envelope.read(parse_json(line, where, SignatureError), where)
        statements.append(Statement.parse(envelope.verify(key, where), where))
    return statements


def statement_about(statements: Iterable[Statement], predicate_type: str, where: str) -> Statement:
    """The only statement with a predicate of this type.

    Raises:
        SignatureError: none, or several, of which one could be an old one.
    """
    found = [statement for statement in statements if statement.predicate_type == predicate_type]
    if len(found) != 1:
        raise SignatureError(f"{where} has {len(found)} statements of the type `{predicate_type}`; expected one")
    return found[0]


def check_subjects(statement: Statement, expected: Mapping[str, str], where: str) -> None:
    """Hold every subject of a statement against the hashes of what lies here.

    Raises:
        SignatureError: about something else; the message names it.
    """
    for name, sha256 in statement.subjects.items():
        if name not in expected:
            raise SignatureError(f"{where} is about `{name[:100]}`, which is not here; expected it unchanged")
        if expected[name] != sha256:
            raise SignatureError(
                f"{where} is about another `{name}`: its sha256 was {sha256[:12]}, here it is {expected[name][:12]}",
                hint="it was made for other files: verify and sign again, or copy the bundle again",
            )
    if missing := [name for name in (ENGINE, BUNDLE) if name not in statement.subjects]:
        raise SignatureError(f"{where} does not name the {missing[0]} it is about")
