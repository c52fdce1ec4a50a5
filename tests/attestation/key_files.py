"""Pairs of keys as PEM files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

MakeKey = Callable[..., Path]


def write_pair(path: Path, key: Any, passphrase: str | None = None) -> Path:
    """Both halves of a key; the public one in NAME.pub.pem beside NAME.pem."""
    from cryptography.hazmat.primitives import serialization as forms

    lock = forms.NoEncryption() if passphrase is None else forms.BestAvailableEncryption(passphrase.encode())
    path.write_bytes(key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, lock))
    public = key.public_key().public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo)
    path.with_suffix(".pub.pem").write_bytes(public)
    return path
