"""in-toto statements, version 1: a predicate about files that are named by their sha256.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advcal_edge.attestation.members import member
from advcal_edge.documents import parse_json
from advcal_edge.errors import SignatureError

TYPE = "https://in-toto.io/Statement/v1"
SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said (`predicate`, of a type) about which subjects."""

    predicate_type: str
    subjects: Mapping[str, str]
    """sha256 of each by name."""
    predicate: Mapping[str, Any]

    @classmethod
    def parse(cls, payload: bytes, where: str) -> Statement:
        """Read a statement.

        Raises:
            SignatureError: another type, or malformed; the message begins with `where`.
        """
        document = parse_json(payload, where, SignatureError)
        kind = member(document, "_type", str, where)
        if kind != TYPE:
            raise SignatureError(f"{where} is a `{kind[:60]}`; expected `{TYPE}`")
        subjects: dict[str, str] = {}
        for item in member(document, "subject", list, where):
            name = member(item, "name", str, where)
            if name in subjects:
                raise SignatureError(f"{where} names the subject `{name[:100]}` twice")
            subjects[name] = digest(member(member(item, "digest", dict, where), "sha256", str, where), where)
        return cls(member(document, "predicateType", str, where), subjects, member(document, "predicate", dict, where))

    def to_json(self) -> dict[str, Any]:
        """The statement as its specification writes it."""
        return {
            "_type": TYPE,
            "subject": [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in self.subjects.items()],
            "predicateType": self.predicate_type,
            "predicate": dict(self.predicate),
        }

    def encode(self) -> bytes:
        """The bytes that go into an envelope."""
        return json.dumps(self.to_json(), allow_nan=False).encode()


def digest(text: str, where: str) -> str:
    """A sha256 in lower-case hexadecimal.

    Raises:
        SignatureError: anything else.
    """
    if not SHA256.fullmatch(text):
        raise SignatureError(f"{where} has the digest `{text[:70]}`; expected a sha256 in hexadecimal")
    return text
