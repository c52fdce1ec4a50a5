"""One writer at a time: who comes second waits, or is told by whom it is kept out; the dead keep nobody out."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from advcal_edge import lock
from advcal_edge.errors import BundleError, BundleInUseError
from advcal_edge.lock import Holder, Lock, beside, hold

HOLD = """
import sys, time
from pathlib import Path
from advcal_edge.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def lines() -> Iterator[list[str]]:
    told: list[str] = []
    lock.listen(told.append)
    yield told
    lock.listen(lambda line: None)


def holding(path: Path, seconds: float = 60) -> subprocess.Popen[str]:
    """Another process that holds the lock of `path` by the time this returns."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "held\n"
    return process


def test_nothing_stays_on_the_disk(tmp_path: Path) -> None:
    with hold(tmp_path / "B"):
        assert [p.name for p in tmp_path.iterdir()] == [".B.lock"]
        assert Lock(beside(tmp_path / "B")).held()
    assert not list(tmp_path.iterdir())
    assert not Lock(beside(tmp_path / "B")).held()


def test_the_second_is_told_by_whom(tmp_path: Path, lines: list[str]) -> None:
    other = holding(tmp_path / "B")
    try:
        with pytest.raises(BundleInUseError) as caught, hold(tmp_path / "B", wait=1.2):
            pass
    finally:
        other.kill()
        other.wait()
    for words in (f"process {other.pid} on `{socket.gethostname()}`", "-c", "since 20", "waited 1 s"):
        assert words in caught.value.message
    assert caught.value.hint == f"wait until it is done, or end it: `kill {other.pid}`"
    assert len(lines) == 1
    assert lines[0].startswith(f"waiting for `{tmp_path / 'B'}`: process {other.pid} ")


def test_the_second_waits_for_a_short_while(tmp_path: Path) -> None:
    other = holding(tmp_path / "B", 0.4)
    with hold(tmp_path / "B"):
        assert other.wait(10) == 0


def test_a_killed_holder_keeps_nobody_out(tmp_path: Path, lines: list[str]) -> None:
    other = holding(tmp_path / "B")
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (tmp_path / ".B.lock").exists()
    assert not Lock(beside(tmp_path / "B")).held()
    with hold(tmp_path / "B", wait=0):
        pass
    assert len(lines) == 1
    assert lines[0].startswith(f"took over the lock of process {other.pid} ")
    assert not list(tmp_path.iterdir())


def test_a_bundle_reached_through_a_link_has_one_lock(tmp_path: Path) -> None:
    (tmp_path / "B").mkdir()
    (tmp_path / "link").symlink_to("B")
    with hold(tmp_path / "B"), pytest.raises(BundleInUseError), hold(tmp_path / "link", wait=0):
        pass


def test_threads_exclude_each_other_too(tmp_path: Path) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with hold(tmp_path / "B"):
                inside += 1
                most = max(most, inside)
                time.sleep(0.001)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_shared_locks_exclude_only_whoever_wants_it_alone(tmp_path: Path) -> None:
    place = tmp_path / ".run.lock"
    one, two, alone = Lock(place, shared=True), Lock(place, shared=True), Lock(place)
    one.take(tmp_path / "run", wait=0)
    two.take(tmp_path / "run", wait=0)
    with pytest.raises(BundleInUseError, match="another command"):
        alone.take(tmp_path / "run", wait=0)
    one.release()
    assert Lock(place).held()
    with pytest.raises(BundleInUseError):
        alone.take(tmp_path / "run", wait=0)
    two.release()
    assert not list(tmp_path.iterdir())
    alone.take(tmp_path / "run", wait=0)
    alone.release()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": -1}', b'{"pid": 1, "host": 2}', b"\xff" * 5000])
def test_a_lock_file_that_says_nothing_is_free(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".B.lock").write_bytes(content)
    with hold(tmp_path / "B", wait=0):
        pass
    assert not list(tmp_path.iterdir())


def test_what_is_no_lock_file_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / ".B.lock").mkdir()
    (tmp_path / ".C.lock").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / ".D.lock")
    for name in "BCD":
        with pytest.raises(BundleError, match=rf"cannot write `.*\.{name}\.lock`"), hold(tmp_path / name, wait=0):
            pass
    assert not (tmp_path / "elsewhere").exists()


def test_another_host_is_believed(tmp_path: Path) -> None:
    """The kernel here cannot tell whether a process elsewhere lives."""
    far = replace(Holder.here(), host="robot-7", boot="another")
    (tmp_path / ".B.lock").write_bytes(far.encode())
    assert Lock(beside(tmp_path / "B")).held()
    with pytest.raises(BundleInUseError, match="`robot-7`") as caught, hold(tmp_path / "B", wait=0):
        pass
    assert caught.value.hint == (f"wait until it is done; if it no longer runs there, remove `{tmp_path / '.B.lock'}`")
    for near in (replace(far, host=socket.gethostname()), replace(far, boot=lock.boot())):
        (tmp_path / ".B.lock").write_bytes(near.encode())  # this host before it was started anew; a container here
        with hold(tmp_path / "B", wait=0):
            pass


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filesystem without locks, as some network filesystems are."""

    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("advcal_edge.lock.fcntl.flock", refuse)


@pytest.mark.usefixtures("no_flock")
def test_without_flock_a_file_stands_for_the_lock(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "B"
    with hold(path):
        assert Holder.read((tmp_path / ".B.held").read_bytes()) is not None
        assert Lock(beside(path)).held()
        with pytest.raises(BundleInUseError, match=f"process {os.getpid()}"), hold(path, wait=0):
            pass
    assert not list(tmp_path.iterdir())
    assert lines == []


@pytest.mark.usefixtures("no_flock")
@pytest.mark.parametrize(
    ("change", "kept_out"),
    [
        ({"pid": 2**22 + 1}, False),  # beyond the largest there is
        ({"boot": "another"}, False),
        ({}, True),
        ({"host": "robot-7"}, True),
        ({"host": "robot-7", "boot": "another"}, True),
    ],
)
def test_without_flock_the_dead_are_known_by_process_host_and_boot(
    tmp_path: Path, lines: list[str], change: dict[str, object], kept_out: bool
) -> None:
    left = replace(Holder.here(), **change)  # type: ignore[arg-type]
    (tmp_path / ".B.held").write_bytes(left.encode())
    if kept_out:
        with pytest.raises(BundleInUseError, match=str(left.pid)), hold(tmp_path / "B", wait=0):
            pass
        assert json.loads((tmp_path / ".B.held").read_bytes())["host"] == left.host
    else:
        with hold(tmp_path / "B", wait=1):
            pass
        assert lines == [f"took over the lock of {left}, which has died"]
        assert not list(tmp_path.iterdir())
