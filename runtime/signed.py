"""Is a bundle signed as a whole, and does its signer attest that an engine passed?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from advcal_edge import limits
from advcal_edge.attestation.attestations import (
    BUNDLE,
    ENGINE,
    TEST_RESULT,
    attestation_name,
    check_subjects,
    read_attestations,
    statement_about,
)
from advcal_edge.attestation.keys import PublicKey
from advcal_edge.attestation.members import member
from advcal_edge.attestation.signature import SignedFiles, changes_since, read_signature, signing
from advcal_edge.bundle import Bundle
from advcal_edge.commands import command
from advcal_edge.documents import parse_json
from advcal_edge.errors import ConfigError, SignatureError
from advcal_edge.manifest import MANIFEST
from advcal_edge.storage import read_bytes, sha256_bytes

LONGEST_RESULT = 20


@dataclass(frozen=True, slots=True)
class SignedBundle:
    """A bundle with the files that the holder of a key signed."""

    bundle: Bundle
    key: PublicKey
    files: SignedFiles

    @classmethod
    def check(cls, bundle: Bundle, public_key: str | Path | PublicKey) -> SignedBundle:
        """Verify the signature of an opened bundle, and hash every file of its folder.

        Raises:
            SignatureError: not signed, not with this key, or a file was changed, added or removed since; the message
            names it.
            ConfigError: the key cannot be read.
            DependencyError: cryptography is not installed.
        """
        key = public_key if isinstance(public_key, PublicKey) else PublicKey.read(public_key)
        files = read_signature(bundle.path, key)
        for change in changes(bundle, files):
            raise SignatureError(change, hint=f"copy the bundle again; if you changed it, {signing(bundle.path)}")
        return cls(bundle, key, files)

    def require_passed(self, sha256: str) -> None:
        """Refuse an engine, by the hash of its bytes, unless its attestation says PASSED about it and these files.

        Raises:
            SignatureError: no attestation, one of another engine or other files, or another result.
        """
        name = attestation_name(f"reports/{sha256[:8]}/report.json")
        result = self.attested(name, sha256)
        if result != "PASSED":
            raise SignatureError(
                f"`{self.bundle.path / name}` says {result} about engine {sha256[:12]}; expected PASSED",
                hint=f"`{command('verify', self.bundle.path)}` shows why",
            )

    def attested(self, name: str, sha256: str) -> str:
        """The result that a file of attestations states about an engine and the files that lie here.

        Raises:
            SignatureError: no such file, not signed with this key, or about another engine or other files.
        """
        where = f"`{self.bundle.path / name}`"
        statements = read_attestations(self.bundle.path, name, self.key)
        for statement in statements:
            check_subjects(statement, {**self.files.sha256, ENGINE: sha256, BUNDLE: self.bundle.identity()}, where)
        return member(statement_about(statements, TEST_RESULT, where).predicate, "result", str, where)[:LONGEST_RESULT]


def changes(bundle: Bundle, files: SignedFiles) -> Iterator[str]:
    """What differs from what was signed, the opened manifest included: a sentence for each difference.

    Raises:
        SignatureError: a link or another special file, or a file that is too large.
    """
    yield from changes_since(bundle.path, files)
    path = bundle.path / MANIFEST
    data = read_bytes(path, limits.MANIFEST_BYTES, SignatureError, follow=False)
    if sha256_bytes(data) != files.sha256.get(MANIFEST) or parse_json(data, f"`{path}`", SignatureError) != dict(
        bundle.manifest
    ):
        yield f"`{path}` is not the one that was signed and opened"
    for name in bundle.manifest["files"]:
        if name not in files.sha256:
            yield f"`{bundle.path / name}` was not signed, although the manifest lists it"


def require_signature(
    bundle: Bundle, require_verified: object, public_key: str | Path | PublicKey | None
) -> SignedBundle:
    """The signed bundle that `require_verified="signed"` and a public key together demand.

    Raises:
        ConfigError: another requirement, or one without the other.
        SignatureError: as for `SignedBundle.check`.
    """
    if require_verified not in (False, True, "signed"):
        raise ConfigError(f"`require_verified` is `{require_verified}`; expected False, True or `signed`")
    if require_verified != "signed" or public_key is None:
        found = "no `public_key`" if public_key is None else f"`public_key` with `require_verified={require_verified}`"
        raise ConfigError(f"found {found}; `require_verified='signed'` and a `public_key` belong together")
    return SignedBundle.check(bundle, public_key)
