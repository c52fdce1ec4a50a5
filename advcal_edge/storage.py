"""Files on disk: hashed, and written atomically."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from advcal_edge.errors import AdvcalError, BundleError
from advcal_edge.limits import MIB, Limit

TEMPORARY = ".advcal"  # suffix of unfinished files and folders, so that leftovers can be identified
NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EBADF)


def sha256_bytes(data: bytes) -> str:
    """Hexadecimal sha256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def canonical(document: Mapping[str, Any]) -> bytes:
    """Canonical JSON of a document, so that equal documents have equal hashes."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def sha256_file(path: Path) -> str:
    """Hexadecimal sha256 of a file, read in chunks."""
    with path.open("rb") as file:
        return sha256_open(file)


def sha256_open(file: BinaryIO) -> str:
    """Hexadecimal sha256 of the rest of an open file, read in chunks."""
    digest = hashlib.sha256()
    while chunk := file.read(MIB):
        digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def open_regular(path: Path, kind: type[AdvcalError], *, follow: bool = True) -> Iterator[BinaryIO]:
    """Open a regular file for reading; devices and pipes, which may block or never end, are refused.

    Raises:
        kind: missing, unreadable, not a regular file, or a link if `follow` is false.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        if not follow and path.is_symlink():
            raise kind(f"`{path}` is a link; expected a file") from error
        raise kind(f"cannot read `{path}`: {getattr(error, 'strerror', None) or error}") from error
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise kind(f"`{path}` is a {describe_mode(mode)}; expected a regular file")
    try:
        with os.fdopen(handle, "rb") as file:
            yield file
    except OSError as error:  # of a read: a failing disk, a system file that opens but cannot be read
        raise kind(f"cannot read `{path}`: {error.strerror or error}") from error


def read_bytes(path: Path, limit: Limit, kind: type[AdvcalError], *, follow: bool = True) -> bytes:
    """All bytes of a regular file of at most `limit`.

    Raises:
        kind: as for `open_regular`, or larger than `limit`.
    """
    with open_regular(path, kind, follow=follow) as file:
        return read_open(file, path, limit, kind)


def read_open(file: BinaryIO, path: Path, limit: Limit, kind: type[AdvcalError]) -> bytes:
    """All bytes of an open file, from its start, of at most `limit`.

    Raises:
        kind: it is larger.
        OSError: it cannot be read.
    """
    size = os.fstat(file.fileno()).st_size
    limit.check(size, f"`{path}`", kind)
    data = file.read(size)  # reading up to the limit would reserve that much memory
    while len(data) <= limit.value and (more := file.read(min(MIB, limit.value + 1 - len(data)))):
        data += more  # the file has grown since; files in /proc have no size
    limit.check(len(data), f"`{path}`", kind)
    return data


def describe_mode(mode: int) -> str:
    """The kind of a file, in a word."""
    words = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
    return words.get(stat.S_IFMT(mode), "socket" if stat.S_ISSOCK(mode) else "special file")


def inside(root: Path, name: object) -> Path:
    """The path of `name` below `root`.

    Raises:
        BundleError: the name is absolute, leads out, or passes through a link that leads out.
    """
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    if not parts or not isinstance(name, str) or "\\" in name or "\0" in name or parts[0] == "/" or ".." in parts:
        raise BundleError(f"manifest of `{root}` names `{name}`, which leaves the bundle; expected a path inside it")
    path = root.joinpath(*parts)
    if not path.resolve().is_relative_to(root.resolve()):
        raise BundleError(f"`{path}` is a link that leaves the bundle; expected a file inside it")
    return path


def tree(folder: Path, enter: Callable[[str], bool] = bool) -> Iterator[Path]:
    """All paths below a folder, at any depth; links and folders whose name `enter` rejects are not entered."""
    waiting = [folder]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                yield path
                if entry.is_dir(follow_symlinks=False) and enter(entry.name):
                    waiting.append(path)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file next to its destination and rename it, so that a reader sees the old or the new one, never a part.

    The data is on disk, under its name, when this returns.

    Raises:
        BundleError: the folder cannot be written or the disk is full; no file is left behind.
    """
    try:
        make_folder(path.parent)
        temporary = temporary_file(path, data)
        try:
            temporary.replace(path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from error


def temporary_file(path: Path, data: bytes) -> Path:
    """A new file next to `path` with `data` on disk; the caller renames or removes it.

    Raises:
        OSError: the folder cannot be written or the disk is full; no file is left behind.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def temporary_folder(parent: Path, name: str) -> Path:
    """A new folder in `parent`; the caller renames or removes it.

    Raises:
        OSError: `parent` cannot be written.
    """
    return Path(tempfile.mkdtemp(dir=parent, prefix=f".{name}.", suffix=TEMPORARY))


def is_temporary(path: Path, name: str = "") -> bool:
    """Does a path have a name from `temporary_file` or `temporary_folder`, for `name` or for any?"""
    wanted = re.escape(name) if name else ".+"
    return re.fullmatch(rf"\.{wanted}\.[a-z0-9_]{{8}}{re.escape(TEMPORARY)}", path.name, re.DOTALL) is not None


def move(source: Path, target: Path) -> None:
    """Rename a file or folder durably; what was at `target` is replaced.

    Raises:
        OSError: the disk cannot be written.
    """
    make_folder(target.parent)
    source.replace(target)
    sync(target.parent)
    if source.parent != target.parent:
        sync(source.parent)


def make_folder(path: Path) -> None:
    """Make a folder and its parents, durably.

    Raises:
        OSError: the disk cannot be written.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync(folder.parent)


def sync(path: Path) -> None:
    """Flush a file or a folder to disk; ignored for folders on filesystems that cannot do it.

    Raises:
        OSError: the disk cannot be written.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in NO_SYNC or not path.is_dir():
            raise


def write_error(path: Path, error: OSError) -> AdvcalError:
    """The error that describes why `path` could not be written."""
    return BundleError(
        f"cannot write `{path}`: {error.strerror or error}; expected a writable folder with free space",
        hint="free some space, or make the folder writable",
    )
