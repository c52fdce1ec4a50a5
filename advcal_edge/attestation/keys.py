"""ECDSA keys from PEM files, on the three curves of the OpenSSF model signing format."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from advcal_edge import limits
from advcal_edge.errors import ConfigError, DependencyError
from advcal_edge.storage import read_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey

CURVES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}
"""Curves with the hash that is signed; https://github.com/sigstore/protobuf-specs pairs them like this."""
MAKING = (
    "make a pair: `openssl ecparam -name prime256v1 -genkey -noout -out key.pem` and"
    " `openssl ec -in key.pem -pubout -out key.pub.pem`"
)
PRIVATE = b"PRIVATE KEY-----"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that signatures are checked with."""

    key: EllipticCurvePublicKey

    @classmethod
    def read(cls, path: str | Path) -> PublicKey:
        """Read a PEM file.

        Raises:
            ConfigError: unreadable, no public key, or a key of another kind.
            DependencyError: cryptography is not installed.
        """
        path, data = Path(path), read_key_file(path)
        with needing_cryptography():
            from cryptography.exceptions import UnsupportedAlgorithm
            from cryptography.hazmat.primitives.serialization import load_pem_public_key
        if PRIVATE in data:
            raise ConfigError(f"`{path}` holds a private key; expected the public one", hint=MAKING)
        try:
            key = load_pem_public_key(data)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ConfigError(f"`{path}` holds no public key in PEM", hint=MAKING) from error
        return cls(check_curve(key, path))

    @property
    def hint(self) -> str:
        """sha256 of the key in PEM, by which signatures name it; it identifies a key and proves nothing."""
        with needing_cryptography():
            from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
        return hashlib.sha256(self.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()

    def accepts(self, signature: bytes, data: bytes) -> bool:
        """Is this the signature of `data` by the private half of this key?"""
        with needing_cryptography():
            from cryptography.exceptions import InvalidSignature
        try:
            self.key.verify(signature, data, scheme(self.key))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key that signs; it is never shown, logged or written."""

    key: EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def read(cls, path: str | Path, passphrase: Callable[[], str] | None = None) -> PrivateKey:
        """Read a PEM file; `passphrase` is asked only if the key is encrypted.

        Raises:
            ConfigError: unreadable, no private key, a key of another kind, or no or a wrong passphrase.
            DependencyError: cryptography is not installed.
        """
        path, data = Path(path), read_key_file(path)
        with needing_cryptography():
            from cryptography.exceptions import UnsupportedAlgorithm
            from cryptography.hazmat.primitives.serialization import load_pem_private_key
        try:
            try:
                key = load_pem_private_key(data, None)
            except TypeError as error:  # encrypted
                if passphrase is None:
                    raise ConfigError(f"the key `{path}` is encrypted; expected a passphrase") from error
                key = load_pem_private_key(data, passphrase().encode())
        except (ValueError, UnsupportedAlgorithm) as error:
            encrypted = b"ENCRYPTED" in data
            what = "cannot be decrypted with this passphrase" if encrypted else "holds no private key in PEM"
            raise ConfigError(f"`{path}` {what}", hint=None if encrypted else MAKING) from error
        check_curve(key, path)
        return cls(cast("EllipticCurvePrivateKey", key))

    @property
    def public(self) -> PublicKey:
        """The other half."""
        return PublicKey(self.key.public_key())

    def sign(self, data: bytes) -> bytes:
        """Signature of `data`, in DER."""
        signature: bytes = self.key.sign(data, scheme(self.key))
        return signature


def read_key_file(path: Path) -> bytes:
    """Bytes of a file with a key.

    Raises:
        ConfigError: unreadable, or larger than any document.
    """
    return read_bytes(path, limits.DOCUMENT_BYTES, ConfigError)


def check_curve(key: object, path: Path) -> EllipticCurvePublicKey:
    """Refuse keys that the model signing format does not know, such as Ed25519 and RSA.

    Raises:
        ConfigError: a key of another kind or on another curve.
    """
    curve = getattr(getattr(key, "curve", None), "name", None)
    if curve not in CURVES:
        found = f"a key on the curve {curve}" if curve else f"a key of the kind {type(key).__name__.lstrip('_')}"
        raise ConfigError(f"`{path}` holds {found}; expected ECDSA on {', '.join(CURVES)}", hint=MAKING)
    return cast("EllipticCurvePublicKey", key)


def scheme(key: EllipticCurvePublicKey | EllipticCurvePrivateKey) -> ECDSA:
    """ECDSA with the hash that belongs to the curve of `key`."""
    with needing_cryptography():
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    return ECDSA(getattr(hashes, CURVES[key.curve.name])())


@contextmanager
def needing_cryptography() -> Iterator[None]:
    """Say which extra is missing if an import fails.

    Raises:
        DependencyError: cryptography is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise DependencyError("cryptography", extra="attest", purpose="a signature") from error
