"""DSSE envelopes: a payload, its type, and signatures over both (https://github.com/secure-systems-lab/dsse, v1.0)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advcal_edge.attestation.keys import PrivateKey, PublicKey
from advcal_edge.attestation.members import member
from advcal_edge.errors import SignatureError

IN_TOTO = "application/vnd.in-toto+json"
MOST_SIGNATURES = 16
"""Each is tried with the key, so their number bounds the time that a hostile envelope takes."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload and signatures over it and its type."""

    payload: bytes
    payload_type: str
    signatures: Sequence[tuple[str, bytes]]
    """Hint of the key, which proves nothing, and signature."""

    @classmethod
    def sign(cls, payload: bytes, key: PrivateKey) -> Envelope:
        """An in-toto payload signed with one key."""
        return cls(payload, IN_TOTO, [(key.public.hint, key.sign(pae(IN_TOTO, payload)))])

    @classmethod
    def read(cls, document: object, where: str) -> Envelope:
        """An envelope from JSON; members that this version does not know are ignored, as the specification asks.

        Raises:
            SignatureError: malformed; the message begins with `where`.
        """
        signatures = member(document, "signatures", list, where)
        if not 0 < len(signatures) <= MOST_SIGNATURES:
            raise SignatureError(f"{where} has {len(signatures)} signatures; expected 1 to {MOST_SIGNATURES}")
        return cls(
            decode(member(document, "payload", str, where), where),
            member(document, "payloadType", str, where),
            [(keyid(item), decode(member(item, "sig", str, where), where)) for item in signatures],
        )

    def verify(self, key: PublicKey, where: str) -> bytes:
        """The payload, if `key` made one of the signatures.

        Raises:
            SignatureError: it made none of them, or the payload is no in-toto statement.
        """
        if self.payload_type != IN_TOTO:
            raise SignatureError(f"{where} holds `{self.payload_type[:60]}`; expected `{IN_TOTO}`")
        signed = pae(self.payload_type, self.payload)
        if not any(key.accepts(signature, signed) for _, signature in self.signatures):
            named = [hint for hint, _ in self.signatures if hint]
            other = f"; it names the key {named[0][:12]}" if named and key.hint not in named else ""
            raise SignatureError(
                f"{where} was not signed with the key {key.hint[:12]}, or changed since{other}",
                hint="use the public key of whoever signed it, or copy the bundle again",
            )
        return self.payload

    def to_json(self) -> dict[str, Any]:
        """The envelope as its specification writes it."""
        return {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": self.payload_type,
            "signatures": [{"keyid": hint, "sig": base64.b64encode(sig).decode()} for hint, sig in self.signatures],
        }


def pae(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed: the pre-authentication encoding of type and payload."""
    kind = payload_type.encode()
    return b" ".join([b"DSSEv1", b"%d" % len(kind), kind, b"%d" % len(payload), payload])


def keyid(signature: object) -> str:
    """The hint in a signature, which may be absent."""
    found = signature.get("keyid") if isinstance(signature, Mapping) else None
    return found if isinstance(found, str) else ""


def decode(text: str, where: str) -> bytes:
    """Base64, standard or URL-safe, as the specification allows.

    Raises:
        SignatureError: neither.
    """
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignatureError(f"{where} holds text that is not base64") from error
