"""The signature over a bundle, against the program `model_signing`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from forgery import resign, sign_payload, statement_in
from fuzz.documents import spelled, spoil_document
from key_files import MakeKey

from advcal_edge.attestation import PrivateKey, PublicKey
from advcal_edge.attestation.attestations import read_attestations
from advcal_edge.attestation.signature import changes_since, read_signature, sign_folder
from advcal_edge.errors import SignatureError

needs_model_signing = pytest.mark.skipif(
    not (find_spec("model_signing") and find_spec("OpenSSL")), reason="the program `model_signing` is not installed"
)


def model_signing(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-m", "model_signing", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def verify_by_model_signing(folder: Path, public_key: Path) -> subprocess.CompletedProcess[str]:
    return model_signing("verify", "key", folder, "--signature", folder / "model.sig", "--public_key", public_key)


@needs_model_signing
def test_model_signing_accepts_a_signed_bundle_and_refuses_one_changed_byte(signed: Path, public_key: Path) -> None:
    done = verify_by_model_signing(signed, public_key)
    assert done.returncode == 0, done.stderr
    assert "Verification succeeded" in done.stdout
    path = signed / "onnx" / "forward.fp16.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    done = verify_by_model_signing(signed, public_key)
    assert done.returncode == 1
    assert "Hash mismatch for 'onnx/forward.fp16.onnx'" in done.stderr


@needs_model_signing
def test_what_model_signing_signs_is_accepted(verified: Path, key: Path, public_key: Path) -> None:
    (verified / "a.b").write_bytes(b"1")  # sorts after a/ by parts, before it as text
    (verified / "a").mkdir()
    (verified / "a" / "c").write_bytes(b"2")
    sig = verified / "model.sig"
    done = model_signing("sign", "key", verified, "--private_key", key, "--signature", sig)
    assert done.returncode == 0, done.stderr
    signed = read_signature(verified, PublicKey.read(public_key))
    assert not list(changes_since(verified, signed))
    theirs, sig_text = signed.sha256, sign_folder(verified, PrivateKey.read(key))
    sig.write_bytes(sig_text)
    assert read_signature(verified, PublicKey.read(public_key)).sha256 == theirs
    assert list(theirs).index("a/c") < list(theirs).index("a.b")


def change(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda b: change(b / "manifest.json"), "manifest.json` was changed"),
        (lambda b: change(next(b.glob("reports/*/report.html"))), "report.html` was changed"),
        (lambda b: change(next(b.glob("attestations/*"))), "intoto.jsonl` was changed"),
        (lambda b: (b / "probe.npz").unlink(), "probe.npz` was signed and is missing"),
        (lambda b: (b / "new").write_text("x"), "new` was not signed"),
        (lambda b: (b / "onnx" / "model.sig").write_text("x"), "onnx/model.sig` was not signed"),
    ],
    ids=["manifest", "report", "attestation", "missing", "added", "added below"],
)
def test_every_change_is_named(signed: Path, public_key: Path, harm: Callable[[Path], object], words: str) -> None:
    files = read_signature(signed, PublicKey.read(public_key))
    assert not list(changes_since(signed, files))
    harm(signed)
    (found,) = changes_since(signed, files)
    assert words in found


def test_links_and_pipes_are_refused_without_being_opened(signed: Path, key: Path, public_key: Path) -> None:
    files = read_signature(signed, PublicKey.read(public_key))
    (signed / "probe.npz").rename(signed.parent / "probe.npz")
    (signed / "probe.npz").symlink_to(signed.parent / "probe.npz")
    with pytest.raises(SignatureError, match=r"probe\.npz` is a link"):
        list(changes_since(signed, files))
    with pytest.raises(SignatureError, match=r"probe\.npz` is a link"):
        sign_folder(signed, PrivateKey.read(key))
    (signed / "probe.npz").unlink()
    os.mkfifo(signed / "probe.npz")
    with pytest.raises(SignatureError, match=r"probe\.npz` is a pipe"):
        list(changes_since(signed, files))


def test_files_of_git_are_not_signed(signed: Path, public_key: Path) -> None:
    (signed / ".git").mkdir()
    (signed / ".git" / "HEAD").write_text("x")
    (signed / ".gitattributes").write_text("x")
    assert not list(changes_since(signed, read_signature(signed, PublicKey.read(public_key))))


def test_another_key_is_refused(signed: Path, make_key: MakeKey) -> None:
    other = PublicKey.read(make_key("stranger").with_suffix(".pub.pem"))
    with pytest.raises(SignatureError, match=f"model.sig` was not signed with the key {other.hint[:12]}"):
        read_signature(signed, other)
    assert read_signature(signed, None).sha256  # without a key it only tells what changed


def test_an_unsigned_folder_says_how_to_sign_it(verified: Path, public_key: Path) -> None:
    with pytest.raises(SignatureError, match=r"is not signed: it has no `model\.sig`") as caught:
        read_signature(verified, PublicKey.read(public_key))
    assert "advcal-edge attest" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"predicateType": "https://in-toto.io/attestation/test-result/v0.1"}, "expected `https://model_signing"),
        ({"predicate": {"resources": []}}, "do not add up"),
        ({"predicate": {"serialization": {"method": "shards", "hash_type": "sha256"}}}, "lists shards by sha256"),
        ({"predicate": {"serialization": {"method": "files", "hash_type": "blake3"}}}, "lists files by blake3"),
        ({"predicate": {"resources": [{"name": "a", "algorithm": "md5", "digest": "0"}]}}, "not by sha256"),
    ],
)
def test_a_signature_of_something_else_is_refused(
    signed: Path, key: Path, public_key: Path, changes: dict[str, Any], words: str
) -> None:
    resign(signed, key)
    read_signature(signed, PublicKey.read(public_key))
    resign(signed, key, **changes)
    with pytest.raises(SignatureError, match=words):
        read_signature(signed, PublicKey.read(public_key))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read as JSON"),
        ("[]", "expected a JSON object"),
        ("{}", "`mediaType` of the kind NoneType"),
        ('{"mediaType": "x", "verificationMaterial": {"certificate": {}}}', "not made with a bare key"),
        ("[" * 100_000, "cannot be read as JSON"),
    ],
)
def test_a_malformed_signature_is_named(signed: Path, public_key: Path, text: str, words: str) -> None:
    (signed / "model.sig").write_text(text)
    with pytest.raises(SignatureError, match=words):
        read_signature(signed, PublicKey.read(public_key))


@pytest.mark.parametrize("with_key", [True, False])
def test_no_changed_byte_of_a_signature_crashes_its_reader(signed: Path, public_key: Path, with_key: bool) -> None:
    path, key = signed / "model.sig", PublicKey.read(public_key)
    good, honest, rng = path.read_bytes(), read_signature(signed, key), np.random.default_rng(0)
    refused = 0
    for at in rng.integers(0, len(good), 100).tolist():
        path.write_bytes(good[:at] + bytes([good[at] ^ 1 << int(rng.integers(8))]) + good[at + 1 :])
        try:
            found = read_signature(signed, key if with_key else None)
            assert found.sha256 == honest.sha256 or not with_key
        except SignatureError:
            refused += 1
    assert refused > 90 if with_key else refused


def test_no_malformed_document_crashes_a_reader_even_if_it_is_signed(signed: Path, key: Path, public_key: Path) -> None:
    rng, public = Random(0), PublicKey.read(public_key)  # noqa: S311
    path, attested = signed / "model.sig", next(signed.glob("attestations/*"))
    honest, envelope = json.loads(path.read_text()), json.loads(attested.read_text().splitlines()[0])
    statement = statement_in(signed).to_json()
    refused = 0
    for _ in range(60):
        path.write_bytes(spoilt(honest, rng))
        attested.write_bytes(spoilt(envelope, rng))
        refused += is_refused(lambda: read_signature(signed, public))
        refused += is_refused(lambda: read_attestations(signed, f"attestations/{attested.name}", public))
        path.write_text(json.dumps(honest))
        sign_payload(signed, key, spoilt(statement, rng))
        refused += is_refused(lambda: read_signature(signed, public))
    assert refused > 120


def spoilt(document: object, rng: Random) -> bytes:
    """The document changed at random; another time if the change is too deep to be written."""
    while True:
        with suppress(RecursionError):
            return spelled(spoil_document(document, rng), rng)


def is_refused(read: Callable[[], object]) -> bool:
    try:
        read()
    except SignatureError:
        return True
    return False


def test_a_huge_signature_is_not_read(signed: Path, public_key: Path) -> None:
    with (signed / "model.sig").open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(SignatureError, match="expected at most"):
        read_signature(signed, PublicKey.read(public_key))


def test_the_statement_lists_every_file(signed: Path) -> None:
    statement = statement_in(signed)
    files = {path.relative_to(signed).as_posix() for path in signed.rglob("*") if path.is_file()}
    assert {item["name"] for item in statement.predicate["resources"]} == files - {"model.sig"}
