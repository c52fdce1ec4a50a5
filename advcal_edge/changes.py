"""Crash-safe changes of a bundle on disk: it is as before, as after, or lacks the names being changed.

Files are completely on disk before any of them is renamed. A first manifest leaves out the names being changed and
lists them under `changing`; files are renamed and removed; the last manifest lists them. So a manifest never lists a
file that is missing or different. A reader of the first manifest waits for the last one; if its writer is dead, the
names are absent, and the next writer removes the files.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advcal_edge.errors import BundleError, BundleInUseError
from advcal_edge.leftovers import LOCK, discard, encode, put_back, sweep
from advcal_edge.lock import WAIT, Lock, beside, hold
from advcal_edge.manifest import CHANGING, MANIFEST, sealed
from advcal_edge.storage import (
    inside,
    move,
    sha256_bytes,
    sha256_file,
    sync,
    temporary_folder,
    write_atomic,
    write_error,
)

MADE_LATER = ("onnx/", "engines/", "reports/")


@dataclass(frozen=True, slots=True)
class Staged:
    """A file that is completely on disk and not yet renamed."""

    path: Path
    sha256: str
    bytes: int

    def entry(self) -> dict[str, Any]:
        """Its entry in the manifest."""
        return {"sha256": self.sha256, "bytes": self.bytes}


@contextmanager
def exclusive(bundle: Path) -> Iterator[None]:
    """Become the only writer of a bundle; changes of killed writers are undone or cleaned up.

    Raises:
        BundleInUseError: another process writes it and does not finish in time.
        BundleError: the folder cannot be written.
    """
    whole = bundle.resolve()
    with hold(bundle):
        put_back(whole)
        sweep(whole)
        try:
            yield
        except BaseException:
            with suppress(BundleError):
                sweep(whole)
            raise


@contextmanager
def workshop(bundle: Path, parent: Path, name: str) -> Iterator[Path]:
    """A folder for unfinished files of a bundle; others leave it alone while this process lives, then it is removed.

    Raises:
        OSError: `parent` cannot be written.
        BundleError: the bundle is being written by another process, or cannot be.
    """
    with exclusive(bundle):  # cleanup holds this lock, so it sees the folder with its own lock or not at all
        folder = temporary_folder(parent, name)
        lock = Lock(folder / LOCK)
        lock.take(folder, wait=0)
    try:
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def stage(files: Mapping[str, bytes | Path], folder: Path) -> dict[str, Staged]:
    """Put the files on disk, under any name: bytes are written into `folder`, paths stay where they are.

    Raises:
        OSError: the disk cannot be written.
    """
    ready = {}
    for number, (name, content) in enumerate(files.items()):
        if isinstance(content, bytes):
            path = folder / f"{number}"
            path.write_bytes(content)
            sync(path)
            ready[name] = Staged(path, sha256_bytes(content), len(content))
        else:
            sync(content)
            ready[name] = Staged(content, sha256_file(content), content.stat().st_size)
    return ready


def change(
    bundle: Path,
    manifest: Mapping[str, Any],
    ready: Mapping[str, Staged],
    gone: Collection[str],
    sections: Mapping[str, Any],
) -> None:
    """Under the lock: rename staged files, remove `gone`, and write the manifest with the hashes of its sections.

    Raises:
        BundleError: the disk cannot be written.
    """
    listed = manifest["files"]
    changing = {name: [staged.sha256] for name, staged in ready.items()}
    for name in (*ready, *gone):
        if name in listed:
            changing.setdefault(name, []).append(listed[name]["sha256"])
    kept = {name: entry for name, entry in listed.items() if name not in changing}
    if changing:
        write_atomic(bundle / MANIFEST, encode(sealed({**manifest, "files": kept, CHANGING: changing})))
    for name, staged in ready.items():
        target = inside(bundle, name)
        try:
            move(staged.path, target)
        except OSError as error:
            raise write_error(target, error) from error
    for name in gone:
        discard(inside(bundle, name), bundle)
    now = {**kept, **{name: staged.entry() for name, staged in ready.items()}}
    write_atomic(bundle / MANIFEST, encode(sealed({**manifest, **sections, "files": dict(sorted(now.items()))})))


def replace(new: Path, bundle: Path) -> None:
    """Under the lock: replace a bundle as a whole; the old one is kept until the new one is in place.

    Raises:
        OSError: the disk cannot be written; the old bundle is restored.
    """
    if not bundle.exists():
        move(new, bundle)
        return
    old = temporary_folder(bundle.parent, f"{bundle.name}.old")
    try:
        move(bundle, old / bundle.name)
        move(new, bundle)
    except OSError:
        put_back(bundle)
        raise
    finally:
        if bundle.exists():
            shutil.rmtree(old, ignore_errors=True)


def settle(bundle: Path) -> None:
    """Wait until nobody writes a bundle; for readers, which write nothing.

    Raises:
        BundleInUseError: a writer does not finish in time.
    """
    lock, end = Lock(beside(bundle)), time.monotonic() + WAIT
    while lock.held():
        if time.monotonic() > end:
            raise BundleInUseError(f"`{bundle}` is being written by another command", hint="run this again later")
        time.sleep(0.01)


def foundation(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The files that a calibration wrote, with their hashes; everything added later is derived from them."""
    return {name: entry["sha256"] for name, entry in manifest["files"].items() if not name.startswith(MADE_LATER)}
