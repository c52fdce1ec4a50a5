"""The signature over all files of a bundle, in the format of OpenSSF model signing 1.0 with a bare key.

`model_signing verify key BUNDLE --signature BUNDLE/model.sig --public_key KEY` accepts what `sign_folder` writes, and
`read_signature` what `model_signing sign key` writes. The format is a Sigstore bundle around a DSSE envelope around an
in-toto statement that lists every file with its sha256:
https://github.com/sigstore/model-transparency/blob/main/docs/model_signing_format.md
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from advcal_edge import limits
from advcal_edge.attestation.envelope import Envelope
from advcal_edge.attestation.keys import PrivateKey, PublicKey
from advcal_edge.attestation.members import member
from advcal_edge.attestation.statement import Statement, digest
from advcal_edge.commands import command
from advcal_edge.documents import read_object
from advcal_edge.errors import SignatureError
from advcal_edge.manifest import SIGNATURE
from advcal_edge.storage import open_regular, sha256_bytes, sha256_open, tree

MEDIA = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE = "https://model_signing/signature/v1.0"
UNSIGNED = (SIGNATURE, ".git", ".gitattributes", ".github", ".gitignore")
"""Paths that no signature covers; those of git are left out by `model_signing` too unless it is told otherwise."""

LONGEST_NAME = 200  # characters of a name that is shown


@dataclass(frozen=True, slots=True)
class SignedFiles:
    """The files that a signature covers."""

    sha256: Mapping[str, str]
    """By name, relative to the folder."""
    ignored: Sequence[str]
    """Paths that the signer left out."""
    hint: str
    """sha256 of the key in PEM, as the signature names it."""


def sign_folder(folder: Path, key: PrivateKey) -> bytes:
    """The content of `model.sig` for all files of a folder as they are now.

    Raises:
        SignatureError: a link or another special file in it, or a file that is too large.
    """
    paths = dict(signable(folder, UNSIGNED))
    names = sorted(paths, key=PurePosixPath)
    hashes = {name: hash_file(paths[name]) for name in names}
    predicate = {
        "serialization": {
            "method": "files",
            "hash_type": "sha256",
            "allow_symlinks": False,
            "ignore_paths": list(UNSIGNED),
        },
        "resources": [{"name": name, "algorithm": "sha256", "digest": sha256} for name, sha256 in hashes.items()],
    }
    statement = Statement(PREDICATE, {folder.resolve().name: root_digest(hashes)}, predicate)
    document = {
        "mediaType": MEDIA,
        "verificationMaterial": {"publicKey": {"hint": key.public.hint}, "tlogEntries": []},
        "dsseEnvelope": Envelope.sign(statement.encode(), key).to_json(),
    }
    return json.dumps(document).encode() + b"\n"


def read_signature(folder: Path, key: PublicKey | None) -> SignedFiles:
    """What `model.sig` in a folder signs; with a key only if that key made it.

    Without a key, nothing says who made it: it then only tells whether files changed since.

    Raises:
        SignatureError: missing, malformed, of another kind or not of this key.
    """
    path = folder / SIGNATURE
    where = f"`{path}`"
    if not os.path.lexists(path):
        raise SignatureError(f"`{folder}` is not signed: it has no `{SIGNATURE}`", hint=signing(folder))
    document = read_object(path, limits.DOCUMENT_BYTES, SignatureError)
    media = member(document, "mediaType", str, where)
    material = member(document, "verificationMaterial", dict, where)
    if media != MEDIA or "publicKey" not in material:
        raise SignatureError(
            f"{where} was not made with a bare key: it is a `{media[:60]}` with {', '.join(sorted(material))[:60]}",
            hint="signatures by certificate or by Sigstore are checked by the program `model_signing`",
        )
    hint = member(member(material, "publicKey", dict, where), "hint", str, where)
    envelope = Envelope.read(member(document, "dsseEnvelope", dict, where), where)
    payload = envelope.payload if key is None else envelope.verify(key, where)
    if key is not None and hint != key.hint:
        raise SignatureError(f"{where} names the key {hint[:12]}; it was made with {key.hint[:12]}")
    return read_resources(Statement.parse(payload, where), hint, where)


def read_resources(statement: Statement, hint: str, where: str) -> SignedFiles:
    """The files that the statement of a signature lists.

    Raises:
        SignatureError: another predicate or hash, a file twice, or a sum that differs from the subject.
    """
    if statement.predicate_type != PREDICATE:
        raise SignatureError(f"{where} states `{statement.predicate_type[:60]}`; expected `{PREDICATE}`")
    how = member(statement.predicate, "serialization", dict, where)
    method, kind = member(how, "method", str, where), member(how, "hash_type", str, where)
    if (method, kind) != ("files", "sha256"):
        raise SignatureError(
            f"{where} lists {method[:20]} by {kind[:20]}; expected files by sha256",
            hint="sign it without those options",
        )
    hashes: dict[str, str] = {}
    for item in member(statement.predicate, "resources", list, where):
        name = member(item, "name", str, where)
        if name in hashes or member(item, "algorithm", str, where) != "sha256":
            raise SignatureError(f"{where} lists `{name[:100]}` twice, or not by sha256")
        hashes[name] = digest(member(item, "digest", str, where), where)
    if list(statement.subjects.values()) != [root_digest(hashes)]:
        raise SignatureError(f"{where} contradicts itself: its files do not add up to its subject")
    ignored = how.get("ignore_paths", [])
    if not isinstance(ignored, list) or not all(isinstance(path, str) for path in ignored):
        raise SignatureError(f"{where} has `ignore_paths` that are no texts")
    return SignedFiles(hashes, ignored, hint)


def changes_since(folder: Path, signed: SignedFiles) -> Iterator[str]:
    """Every difference between a folder and what was signed, each a sentence that names the file.

    Raises:
        SignatureError: a link or another special file, or a file that is too large.
    """
    present = dict(signable(folder, (*UNSIGNED, *signed.ignored)))
    for name, sha256 in signed.sha256.items():
        path = present.pop(name, None)
        if path is None:
            yield f"`{folder / name[:LONGEST_NAME]}` was signed and is missing"
        elif (found := hash_file(path)) != sha256:
            yield (
                f"`{path}` was changed after the bundle was signed: sha256 is {found[:12]}, signed was {sha256[:12]}"
            )
    for path in present.values():
        yield f"`{path}` was not signed: it was added later"


def signable(folder: Path, ignored: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Name and path of each file in a folder, at any depth, but for paths that are ignored.

    Raises:
        SignatureError: a link.
    """
    for path in tree(folder):
        name = path.relative_to(folder).as_posix()
        if any(name == skipped or name.startswith(f"{skipped}/") for skipped in ignored):
            continue
        if path.is_symlink():
            raise SignatureError(f"`{path}` is a link; expected a file, since links cannot be signed")
        if not path.is_dir():
            yield name, path


def hash_file(path: Path) -> str:
    """sha256 of a regular file.

    Raises:
        SignatureError: it is another kind of file, unreadable or too large.
    """
    with open_regular(path, SignatureError, follow=False) as file:
        limits.LISTED_BYTES.check(os.fstat(file.fileno()).st_size, f"`{path}`", SignatureError)
        return sha256_open(file)


def root_digest(hashes: Mapping[str, str]) -> str:
    """sha256 over the hashes of all files, in their order: the digest of the folder in other statements."""
    return sha256_bytes(b"".join(bytes.fromhex(sha256) for sha256 in hashes.values()))


def signing(folder: Path) -> str:
    """The command that signs."""
    return f"sign it: `{command('attest', folder, '--key', 'KEY.pem')}`"
