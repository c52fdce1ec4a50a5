"""One writer at a time: an advisory lock next to the data, which names its holder and ends with it.

The lock is `flock` on a file `.NAME.lock`; the kernel frees it when its holder dies, for any reason. On a filesystem
without such locks, the file `.NAME.held` replaces it, and process, host and boot show whether its holder is alive. A
holder on another host cannot be checked from here and counts as alive.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import shlex
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from advcal_edge.errors import BundleInUseError
from advcal_edge.storage import temporary_file, write_error

WAIT = 10.0  # seconds; a writer normally needs much less to add what it has made
PATIENCE = 0.5  # seconds before the wait is reported
HOLDER_BYTES = 4096
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

_told: ContextVar[Callable[[str], None] | None] = ContextVar("told", default=None)


def listen(told: Callable[[str], None]) -> None:
    """Call `told` with a line for each lock that is waited for or was left by a dead process."""
    _told.set(told)


@dataclass(frozen=True, slots=True)
class Holder:
    """The holder of a lock, with a description for processes that wait."""

    pid: int
    host: str
    boot: str
    command: str
    since: str

    @classmethod
    def here(cls) -> Holder:
        """This process."""
        program, *arguments = sys.argv or ["?"]
        command = shlex.join([Path(program).name, *arguments])[:400]
        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        return cls(os.getpid(), socket.gethostname(), boot(), command, since)

    @classmethod
    def read(cls, data: bytes) -> Holder | None:
        """Read a lock file; None if it is empty or malformed."""
        try:
            record = json.loads(data)
            texts = [record[name] for name in ("host", "boot", "command", "since")]
            if type(record["pid"]) is int and record["pid"] > 0 and all(isinstance(text, str) for text in texts):
                return cls(record["pid"], *texts)
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        return None

    def encode(self) -> bytes:
        """Encode as one line of JSON."""
        return (json.dumps(asdict(self)) + "\n").encode()

    @property
    def near(self) -> bool:
        """Can the kernel here tell whether it is alive? True for the same boot, or an earlier one of this host."""
        return self.boot == boot() or self.host == socket.gethostname()

    @property
    def dead(self) -> bool:
        """Is it certain that it no longer runs?"""
        if not self.near or self.host != socket.gethostname():
            return False
        return self.boot != boot() or not alive(self.pid)

    def __str__(self) -> str:
        return f"process {self.pid} on `{self.host}` (`{self.command}`) since {self.since}"


def boot() -> str:
    """Identifier of the current boot of this machine."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return "unknown"


def alive(pid: int) -> bool:
    """Is a process of this host running?"""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def beside(path: Path) -> Path:
    """The lock of `path`: next to it, so that it survives a replaced folder; inside if the parent cannot be written."""
    whole = path.resolve()
    if whole.is_dir() and not os.access(whole.parent, os.W_OK):
        return whole / ".lock"
    return whole.with_name(f".{whole.name}.lock")


class Lock:
    """A lock on a file `place`; a shared lock excludes only exclusive ones."""

    def __init__(self, place: Path, *, shared: bool = False) -> None:
        self.place = place
        self.shared = shared
        self._handle: int | None = None
        self._by_name = False

    @property
    def named(self) -> Path:
        """The file that replaces the lock on a filesystem without locks."""
        return self.place.with_name(f"{self.place.name.removesuffix('.lock')}.held")

    def take(self, path: Path, *, wait: float = WAIT) -> None:
        """Hold the lock of `path`, waiting at most `wait` seconds for another process.

        Raises:
            BundleInUseError: another process holds it.
            BundleError: the folder cannot be written.
        """
        started, said = time.monotonic(), False
        while True:
            try:
                holder = self._attempt()
            except OSError as error:
                raise write_error(self.place, error) from error
            if self._handle is not None:
                return
            waited = time.monotonic() - started
            if waited >= wait:
                raise in_use(path, holder, self.place, waited)
            if waited > PATIENCE and not said:
                said = True
                tell(f"waiting for `{path}`: {'another command' if holder is None else holder} writes it")
            time.sleep(random.uniform(0.005, 0.03))  # noqa: S311

    def release(self) -> None:
        """Release the lock; no file stays on disk."""
        if self._handle is None:
            return
        with suppress(OSError):
            if self._by_name:
                self.named.unlink(missing_ok=True)
            elif self.shared:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails if others still share it
            if same_file(self._handle, self.place):
                self.place.unlink()
        os.close(self._handle)
        self._handle = None

    def held(self) -> bool:
        """Does a living process, this one included, hold it? Writes nothing."""
        with suppress(OSError):
            holder = Holder.read(head(self.named))
            return holder is None or not holder.dead
        try:
            handle = os.open(self.place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if self._busy_shared(handle):
                return True
            holder = Holder.read(os.pread(handle, HOLDER_BYTES, 0))
            return holder is not None and not holder.near
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(handle)

    def _busy_shared(self, handle: int) -> bool:
        """Do others share the lock that `handle` shares?"""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # opened read-only, on a filesystem where that does not work
            return False
        return False

    def _attempt(self) -> Holder | None:
        """Take the lock if it is free; else return its holder, as far as that is known."""
        try:
            handle = self._open()
        except FileNotFoundError:  # the folder was removed between making and using it
            return None
        taken = False
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if self.shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            if not same_file(handle, self.place):  # its last holder has removed it in the meantime
                return None
            left = Holder.read(os.pread(handle, HOLDER_BYTES, 0))
            if left is not None and not left.near:
                return left
            if left is not None and not self.shared:
                tell(f"took over the lock of {left}, which has died")
            if not self.shared:
                data = Holder.here().encode()
                os.ftruncate(handle, 0)
                os.pwrite(handle, data, 0)
            taken = True
        except BlockingIOError:
            return Holder.read(os.pread(handle, HOLDER_BYTES, 0))
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            holder = None if self.shared else self._attempt_by_name()
            taken = self.shared or self._by_name
            return holder
        finally:
            if taken:
                self._handle = handle
            else:
                os.close(handle)
        return None

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        self.place.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.place, flags, 0o666)
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:  # a second name: it may be another file
            os.close(handle)
            raise OSError(errno.EINVAL, "not a regular file of its own", str(self.place))
        return handle

    def _attempt_by_name(self) -> Holder | None:
        """Take the lock by creating a file atomically: as a second name for a complete one."""
        ready = temporary_file(self.named, Holder.here().encode())
        try:
            os.link(ready, self.named)
            self._by_name = True
        except FileExistsError:
            holder = Holder.read(head(self.named))
            if holder is not None and holder.dead:
                self._break(holder)
            return holder
        finally:
            ready.unlink()
        return None

    def _break(self, dead: Holder) -> None:
        """Remove the file of a dead holder, unless another process did so first."""
        aside = self.named.with_name(f"{self.named.name}.{os.getpid()}")
        with suppress(FileNotFoundError, FileExistsError):
            self.named.rename(aside)
            if Holder.read(head(aside)) == dead:
                tell(f"took over the lock of {dead}, which has died")
            else:
                os.link(aside, self.named)
            aside.unlink()


@contextmanager
def hold(path: Path, *, wait: float = WAIT) -> Iterator[None]:
    """Be the only process that writes `path`, a bundle or another folder, until the block ends.

    Raises:
        BundleInUseError: another process holds it and did not end within `wait` seconds.
        BundleError: the folder cannot be written.
    """
    lock = Lock(beside(path))
    lock.take(path, wait=wait)
    try:
        yield
    finally:
        lock.release()


def in_use(path: Path, holder: Holder | None, place: Path, waited: float) -> BundleInUseError:
    """The error that names the holder and what to do."""
    after = f"; waited {waited:.0f} s" if waited >= 1 else ""
    if holder is None:
        return BundleInUseError(f"`{path}` is being written by another command{after}", hint="run this again later")
    hint = f"wait until it is done, or end it: `kill {holder.pid}`"
    if not holder.near:
        hint = f"wait until it is done; if it no longer runs there, remove `{place}`"
    return BundleInUseError(f"`{path}` is being written by {holder}{after}", hint=hint)


def head(path: Path) -> bytes:
    """The first bytes of a file, for any length.

    Raises:
        OSError: no such file, or it cannot be read.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.pread(handle, HOLDER_BYTES, 0)
    finally:
        os.close(handle)


def same_file(handle: int, path: Path) -> bool:
    """Is `path` still the file that `handle` has open?"""
    try:
        current = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    opened = os.fstat(handle)
    return (current.st_dev, current.st_ino) == (opened.st_dev, opened.st_ino)


def tell(line: str) -> None:
    """Pass a line to the listener, if there is one."""
    told = _told.get()
    if told is not None:
        told(line)
