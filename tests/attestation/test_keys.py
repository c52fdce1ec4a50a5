"""Keys: the curves of the model signing format, passphrases, and words for everything else."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from key_files import MakeKey, write_pair

from advcal_edge.attestation import PrivateKey, PublicKey
from advcal_edge.errors import ConfigError, DependencyError

CURVES = {"SECP256R1": hashes.SHA256, "SECP384R1": hashes.SHA384, "SECP521R1": hashes.SHA512}


@pytest.mark.parametrize("curve", CURVES)
def test_a_signature_is_ecdsa_with_the_hash_of_the_curve(curve: str, make_key: MakeKey) -> None:
    path = make_key(curve, curve)
    public = serialization.load_pem_public_key(path.with_suffix(".pub.pem").read_bytes())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(PrivateKey.read(path).sign(b"data"), b"data", ec.ECDSA(CURVES[curve]()))
    ours = PublicKey.read(path.with_suffix(".pub.pem"))
    assert ours.accepts(PrivateKey.read(path).sign(b"data"), b"data")
    assert not ours.accepts(PrivateKey.read(path).sign(b"data"), b"date")
    assert not ours.accepts(b"", b"data")


def test_a_key_is_named_by_the_hash_of_its_pem_and_never_shown(key: Path, public_key: Path) -> None:
    private = PrivateKey.read(key)
    assert private.public.hint == hashlib.sha256(public_key.read_bytes()).hexdigest()
    assert repr(private) == "PrivateKey()"


def test_only_an_encrypted_key_asks_for_its_passphrase(key: Path, make_key: MakeKey) -> None:
    def asked() -> str:
        raise AssertionError

    PrivateKey.read(key, asked)
    locked = make_key("locked", passphrase="open sesame")  # noqa: S106
    PrivateKey.read(locked, lambda: "open sesame")
    with pytest.raises(ConfigError, match="cannot be decrypted with this passphrase"):
        PrivateKey.read(locked, lambda: "guess")
    with pytest.raises(ConfigError, match="is encrypted; expected a passphrase"):
        PrivateKey.read(locked)


def test_other_kinds_of_keys_are_named(tmp_path: Path) -> None:
    kinds = {
        "Ed25519": ed25519.Ed25519PrivateKey.generate(),
        "RSA": rsa.generate_private_key(65537, 1024),  # noqa: S505  # quick to make, and refused
        "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    }
    for kind, made in kinds.items():
        path = write_pair(tmp_path / f"{kind}.pem", made)
        with pytest.raises(ConfigError, match=f"{kind}.*expected ECDSA") as caught:
            PrivateKey.read(path)
        assert "openssl ecparam" in str(caught.value.hint)
        with pytest.raises(ConfigError, match=f"{kind}.*expected ECDSA"):
            PublicKey.read(path.with_suffix(".pub.pem"))


def test_the_halves_of_a_key_are_not_mistaken_for_each_other(key: Path, public_key: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds a private key; expected the public one"):
        PublicKey.read(key)
    with pytest.raises(ConfigError, match="holds no private key in PEM"):
        PrivateKey.read(public_key)
    (tmp_path / "text.pem").write_text("no key")
    with pytest.raises(ConfigError, match="holds no public key in PEM"):
        PublicKey.read(tmp_path / "text.pem")
    with pytest.raises(ConfigError, match="cannot read"):
        PublicKey.read(tmp_path / "missing.pem")


def test_without_cryptography_the_extra_is_named(public_key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(DependencyError) as caught:
        PublicKey.read(public_key)
    assert caught.value.hint == "pip install 'advcal-edge[attest]'"
