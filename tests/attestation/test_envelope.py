"""DSSE envelopes against the specification's test vector and against securesystemslib."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, strategies as st
from key_files import MakeKey

from advcal_edge.attestation import PrivateKey, PublicKey
from advcal_edge.attestation.envelope import IN_TOTO, MOST_SIGNATURES, Envelope, pae
from advcal_edge.attestation.statement import TYPE, Statement
from advcal_edge.errors import SignatureError

# https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md#test-vectors
HELLO_TYPE, HELLO = "http://example.com/HelloWorld", b"hello world"
HELLO_PAE = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
HELLO_X = 46950820868899156662930047687818585632848591499744589407958293238635476079160
HELLO_Y = 5640078356564379163099075877009565129882514886557779369047442380624545832820
HELLO_SIGNATURE = "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="


def test_the_vector_of_the_specification() -> None:
    assert pae(HELLO_TYPE, HELLO) == HELLO_PAE
    key = PublicKey(ec.EllipticCurvePublicNumbers(HELLO_X, HELLO_Y, ec.SECP256R1()).public_key())
    raw = base64.b64decode(HELLO_SIGNATURE)  # r and s; ours are the same two numbers in DER
    r, s = (int.from_bytes(half, "big") for half in (raw[:32], raw[32:]))
    assert key.accepts(encode_dss_signature(r, s), pae(HELLO_TYPE, HELLO))


@given(st.text(), st.binary())
def test_the_encoding_is_that_of_securesystemslib(kind: str, payload: bytes) -> None:
    dsse = pytest.importorskip("securesystemslib.dsse", reason="the reference for DSSE is not installed")
    try:
        kind.encode()
    except UnicodeEncodeError:
        return
    assert pae(kind, payload) == dsse.Envelope(payload, kind, {}).pae()


def test_securesystemslib_accepts_ours_and_we_accept_theirs(key: Path, public_key: Path) -> None:
    dsse = pytest.importorskip("securesystemslib.dsse", reason="the reference for DSSE is not installed")
    signer = pytest.importorskip("securesystemslib.signer")
    ours, public = PrivateKey.read(key), PublicKey.read(public_key)
    theirs = signer.SSlibKey.from_crypto(public.key, keyid=public.hint)
    document = Envelope.sign(b"payload", ours).to_json()
    dsse.Envelope.from_dict(json.loads(json.dumps(document))).verify([theirs], 1)

    other = dsse.Envelope(b"payload", IN_TOTO, {})
    secret = serialization.load_pem_private_key(key.read_bytes(), None)
    other.sign(signer.CryptoSigner(secret, theirs))
    assert Envelope.read(other.to_dict(), "it").verify(public, "it") == b"payload"


def test_another_payload_type_key_or_signature_is_refused(key: Path, public_key: Path, make_key: MakeKey) -> None:
    public = PublicKey.read(public_key)
    made = Envelope.sign(b"payload", PrivateKey.read(key)).to_json()
    assert Envelope.read(made, "it").verify(public, "it") == b"payload"
    changed: list[dict[str, Any]] = [
        {**made, "payload": base64.b64encode(b"Payload").decode()},
        {**made, "payloadType": "application/json"},
        {**made, "signatures": [{"keyid": public.hint, "sig": base64.b64encode(b"no").decode()}]},
    ]
    for document in changed:
        with pytest.raises(SignatureError, match=r"it (was not signed with the key|holds `application/json`)"):
            Envelope.read(document, "it").verify(public, "it")
    other = PublicKey.read(make_key("other").with_suffix(".pub.pem"))
    with pytest.raises(SignatureError, match=f"not signed with the key {other.hint[:12]}.*names the key"):
        Envelope.read(made, "it").verify(other, "it")


def test_one_good_signature_among_others_suffices_and_the_name_of_the_key_proves_nothing(
    key: Path, public_key: Path
) -> None:
    made = Envelope.sign(b"payload", PrivateKey.read(key)).to_json()
    good = {"sig": made["signatures"][0]["sig"].replace("+", "-").replace("/", "_"), "keyid": "someone else"}
    document = {**made, "signatures": [{"sig": "AAAA"}, good], "unknown": 1}
    assert Envelope.read(document, "it").verify(PublicKey.read(public_key), "it") == b"payload"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"signatures": []}, "has 0 signatures"),
        ({"signatures": [{"sig": "AAAA"}] * (MOST_SIGNATURES + 1)}, "has 17 signatures"),
        ({"signatures": None}, "`signatures` of the kind NoneType; expected a list"),
        ({"signatures": ["AAAA"]}, "holds a str; expected an object with `sig`"),
        ({"payload": "a*b"}, "not base64"),
        ({"payload": "ä"}, "not base64"),
        ({"payload": 1}, "expected text"),
    ],
)
def test_a_malformed_envelope_is_named(change: dict[str, object], words: str) -> None:
    document = {"payload": "AAAA", "payloadType": IN_TOTO, "signatures": [{"sig": "AAAA"}], **change}
    with pytest.raises(SignatureError, match=words):
        Envelope.read(document, "it")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "is a `https://in-toto.io/Statement/v0.1`"),
        ({"subject": [{"name": "a", "digest": {"sha512": "0"}}]}, "`sha256` of the kind NoneType"),
        ({"subject": [{"name": "a", "digest": {"sha256": "0" * 63}}]}, "expected a sha256"),
        ({"subject": [{"name": "a", "digest": {"sha256": "0" * 64}}] * 2}, "names the subject `a` twice"),
        ({"predicate": []}, "expected an object"),
    ],
)
def test_a_malformed_statement_is_named(change: dict[str, object], words: str) -> None:
    made = Statement("type", {"a": "0" * 64}, {"said": 1})
    assert Statement.parse(made.encode(), "it") == made
    assert made.to_json()["_type"] == TYPE
    with pytest.raises(SignatureError, match=words):
        Statement.parse(json.dumps({**made.to_json(), **change}).encode(), "it")


def test_a_statement_that_is_no_json_is_named() -> None:
    with pytest.raises(SignatureError, match="it cannot be read as JSON"):
        Statement.parse(b'{"a": NaN}', "it")
