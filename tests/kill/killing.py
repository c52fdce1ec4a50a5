"""Kill a writer before each of its operations on files, one run for each, and look at what is left every time.

python killing.py WRITER FOLDER STEP     prints a JSON document: operations, kills, violations
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from writers import WRITERS, Writer

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
EVENTS = frozenset(
    ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "os.chmod", "fcntl.flock")
)


class Fuse:
    """Counts operations on files and kills this process, as SIGKILL does, before the one at `at`."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.count = 0

    def arm(self) -> None:
        sync = os.fsync

        def counted(handle: int) -> None:
            self.burn()
            sync(handle)

        os.fsync = counted  # type: ignore[assignment]  # no audit event tells of it
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING):
            self.burn()

    def burn(self) -> None:
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1


def in_child(work: Any) -> tuple[int, str]:
    """Do something in a process of its own; the signal that ended it, and what it had to say."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 0
        try:
            os.write(writing, str(work()).encode())
        except BaseException:
            os.write(writing, traceback.format_exc().encode()[-3000:])
            code = 1
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    return (-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)), said


def try_once(writer: Writer, root: Path, at: int) -> tuple[bool, str]:
    """Kill one writer before its operation `at`; whether it came to that, and what is wrong afterwards."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    writer.prepare(root)

    def write() -> int:
        fuse = Fuse(at)
        fuse.arm()
        writer.write(root)
        return fuse.count

    code, said = in_child(write)
    if code not in (0, -signal.SIGKILL):
        return False, f"the writer failed: {said}"
    failed, why = in_child(lambda: writer.check(root))
    return code != 0, why if failed else ""


def main(name: str, folder: str, step: int) -> dict[str, Any]:
    """Kill the writer `name` before every `step`-th operation, and let it end once."""
    violations, kills, at = {}, 0, 0
    while True:
        killed, wrong = try_once(WRITERS[name], Path(folder) / "root", at)
        kills += killed
        if wrong:
            violations[str(at)] = wrong
        if not killed:
            return {"writer": name, "operations": at, "kills": kills, "violations": violations}
        at += step


if __name__ == "__main__":
    sys.stdout.write(json.dumps([main(name, sys.argv[1], int(sys.argv[2])) for name in sys.argv[3:]]) + "\n")
