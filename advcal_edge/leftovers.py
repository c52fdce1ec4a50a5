"""Leftovers of killed commands, identified by name and by a lock that nobody holds. Other files are never touched."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advcal_edge import limits
from advcal_edge.commands import command
from advcal_edge.documents import read_object
from advcal_edge.errors import BundleError
from advcal_edge.lock import Lock, beside, hold, tell
from advcal_edge.manifest import ATTESTATION, CHANGING, MANIFEST, SIGNATURE
from advcal_edge.storage import inside, is_temporary, move, sha256_file, tree, write_atomic

LOCK = ".lock"
"""Lock inside an unfinished folder: while it is held, the command that made the folder is alive."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file or folder that a killed command left; `goes_on` names the command that continues from it, if any."""

    path: Path
    what: str
    goes_on: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {"path": str(self.path), "what": self.what, "goes_on": self.goes_on}


def leftovers(bundle: Path) -> list[Leftover]:
    """Leftovers of killed commands in a bundle and next to it; unfinished files of running commands do not count."""
    whole = bundle.resolve()
    if Lock(beside(whole)).held():
        return []
    found = [Leftover(path, "an unfinished file or folder") for path in [*dead(siblings(whole)), *dead(within(whole))]]
    found += [Leftover(path, "a file that was being added or removed") for path in strays(whole)]
    place = beside(whole)
    if place.exists():
        found.append(Leftover(place, "a lock that nobody holds"))
    partial = whole.with_name(f"{whole.name}.partial")
    if partial.is_dir() and not Lock(beside(partial)).held():
        again = command("calibrate", "--out", bundle, "--resume")
        found.append(Leftover(partial, "the last whole epoch of a calibration", again))
    for run in runs(whole.with_name(f"{whole.name}.verify")):
        if not Lock(beside(run)).held():
            found.append(Leftover(run, "what a verification has done so far", command("verify", bundle)))
    return found


def runs(root: Path) -> list[Path]:
    """The folders of verifications below `root`."""
    return sorted(place.parent for place in root.glob("*/run.json"))


def siblings(bundle: Path) -> list[Path]:
    """Folders next to a bundle that hold a new bundle, or the old one until the new one is in place."""
    with suppress(OSError):
        return sorted(
            path
            for path in bundle.parent.iterdir()
            if is_temporary(path, f"{bundle.name}.new") or is_temporary(path, f"{bundle.name}.old")
        )
    return []


def within(bundle: Path) -> Iterator[Path]:
    """Files and folders inside a bundle that are unfinished or not yet removed."""
    yield from filter(is_temporary, tree(bundle, lambda name: not is_temporary(Path(name))))


def unfinished(bundle: Path) -> set[Path]:
    """Files in a bundle that are not part of it but ours, whether or not the command that made them is alive."""
    return {*within(bundle), *strays(bundle), bundle / LOCK}


def foreign(bundle: Path, listed: Collection[str]) -> list[str]:
    """Names of files in a bundle that are not listed in its manifest, do not sign it, and do not come from a writer."""
    left, ours = unfinished(bundle), {MANIFEST, SIGNATURE, *listed}
    paths = [path for path in tree(bundle) if path.is_symlink() or not path.is_dir()]
    others = [path for path in paths if path not in left and left.isdisjoint(path.parents)]
    names = sorted(path.relative_to(bundle).as_posix() for path in others)
    return [name for name in names if name not in ours and not ATTESTATION.fullmatch(name)]


def dead(paths: Iterator[Path] | list[Path]) -> list[Path]:
    """Those whose command has died; call it under the lock of the bundle, or when nobody holds it."""
    return [path for path in paths if path.is_symlink() or not Lock(path / LOCK).held()]


def strays(bundle: Path) -> list[Path]:
    """Files that a killed command was adding or removing: not listed, and exactly as it recorded them."""
    manifest = cut_off(bundle)
    if manifest is None:
        return []
    files = []
    for name, digests in manifest[CHANGING].items():
        with suppress(BundleError, OSError):
            path = inside(bundle, name)
            known = isinstance(digests, list) and name not in manifest["files"]
            small = path.is_file() and path.stat().st_size <= limits.LISTED_BYTES.value
            if known and small and sha256_file(path) in digests:
                files.append(path)
    return files


def cut_off(bundle: Path) -> dict[str, Any] | None:
    """The manifest of a bundle that is being changed, or whose change was interrupted; else None."""
    try:
        manifest = read_object(bundle / MANIFEST, limits.MANIFEST_BYTES, BundleError)
    except BundleError:
        return None
    whole = isinstance(manifest.get(CHANGING), Mapping) and isinstance(manifest.get("files"), Mapping)
    return manifest if whole else None


def put_back(bundle: Path) -> bool:
    """Under the lock: restore a bundle whose replacement was interrupted; returns whether there is one now."""
    if not os.path.lexists(bundle):
        kept = [path / bundle.name for path in siblings(bundle) if is_temporary(path, f"{bundle.name}.old")]
        whole = [path for path in kept if (path / MANIFEST).is_file()]
        if whole:
            move(max(whole, key=lambda path: path.parent.stat().st_mtime), bundle)
            tell(f"put `{bundle}` back: a command was killed while it replaced it")
    return os.path.lexists(bundle)


def returned(bundle: Path) -> bool:
    """Is a bundle that was missing there now? It may have been in the middle of a replacement, or restored.

    Raises:
        BundleInUseError: another process replaces it and does not finish in time.
        BundleError: the folder cannot be written.
    """
    whole = bundle.resolve()
    if not siblings(whole):
        return os.path.lexists(whole)
    with hold(bundle):
        return put_back(whole)


def sweep(bundle: Path) -> None:
    """Under the lock: remove leftovers of killed commands in and next to a bundle, and complete their changes.

    Raises:
        BundleError: the manifest cannot be written.
    """
    for path in strays(bundle):
        discard(path, bundle)
    manifest = cut_off(bundle)
    if manifest is not None:
        del manifest[CHANGING]
        write_atomic(bundle / MANIFEST, encode(manifest))
    for path in [*dead(siblings(bundle)), *(dead(within(bundle)) if (bundle / MANIFEST).is_file() else [])]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def discard(path: Path, bundle: Path) -> None:
    """Remove a file of a bundle, and the folders that it leaves empty."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == bundle or not folder.is_relative_to(bundle):
                break
            folder.rmdir()


def encode(manifest: Mapping[str, Any]) -> bytes:
    """The manifest as readable JSON that is easy to diff."""
    return (json.dumps(manifest, indent=2, allow_nan=False) + "\n").encode()
