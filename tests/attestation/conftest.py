"""A tiny bundle with a passing and an inconclusive engine, verified for real and signed, copied for each test."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from key_files import MakeKey, write_pair
from once import once_per_run
from tiny import Linear, write_bundle

from advcal_edge.attestation import PrivateKey
from advcal_edge.bundle import Bundle
from advcal_edge.spec import image

collect_ignore_glob = [] if find_spec("cryptography") else ["test_*.py"]
"""The extra `attest` brings it, and `test` brings the extra."""


def pytest_report_header() -> str | None:
    """Says what is left out."""
    return "without cryptography, tests/attestation is left out" if collect_ignore_glob else None


@pytest.fixture(scope="session")
def make_key(tmp_path_factory: pytest.TempPathFactory) -> MakeKey:
    """Writes NAME.pem and NAME.pub.pem, on P-256 unless told, and returns the former."""
    folder = tmp_path_factory.mktemp("keys")

    def make(name: str = "key", curve: str = "SECP256R1", passphrase: str | None = None) -> Path:
        from cryptography.hazmat.primitives.asymmetric import ec

        return write_pair(folder / f"{name}.pem", ec.generate_private_key(getattr(ec, curve)()), passphrase)

    return make


@pytest.fixture(scope="session")
def key(make_key: MakeKey) -> Path:
    return make_key()


@pytest.fixture(scope="session")
def public_key(key: Path) -> Path:
    return key.with_suffix(".pub.pem")


@pytest.fixture(scope="session")
def verified_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once_per_run(tmp_path_factory, "verified", verify_tiny)


def verify_tiny(path: Path) -> None:
    """fp16 passes with 200 samples; 20 are too few for fp32."""
    from advcal_edge.verify.options import VerifyOptions
    from advcal_edge.verify.run import verify

    bundle = write_bundle(path, Linear.random(image(4)), ("fp32", "fp16"), {}, samples=220, gradient=True)
    verify(bundle, VerifyOptions(engine="fp16", samples=200, reference="onnx"))
    verify(Bundle.open(path), VerifyOptions(engine="fp32", samples=20, reference="onnx"))


@pytest.fixture
def verified(verified_once: Path, tmp_path: Path) -> Path:
    """The bundle with its reports, unsigned."""
    return Path(shutil.copytree(verified_once, tmp_path / "B"))


@pytest.fixture
def signed(verified: Path, key: Path) -> Path:
    """The bundle with its attestations and its signature."""
    from advcal_edge.verify.attest import attest

    attest(Bundle.open(verified), PrivateKey.read(key))
    return verified
