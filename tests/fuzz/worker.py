"""A forked process that tries cases one after another, so that a crash is a finding and not the end."""

from __future__ import annotations

import json
import os
import resource
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fuzz.calls import CALLS
from fuzz.case import WORK, Action, Target
from fuzz.poisons import BAIT
from fuzz.watch import Watch, judge_call, judge_command, judge_text

ADDRESSES = 6 * 2**30  # bytes of address space beyond what a worker has when it starts
FILE = 512 * 2**20
RECURSION = 20_000  # while a case is written: what is nested too deeply for the package must be written all the same

LIMITS: Mapping[str, int] = {
    "bytes": 48 * 2**20,
    "values": 2**22,
    "pixels": 2**22,
    "pixels a frame": 2**20,
    "samples of all channels": 2**22,
    "samples an axis": 2**18,
    "events": 2**20,
    "points": 2**20,
    "triangles": 2**20,
    "frames": 2**10,
    "files": 2**10,
    "lines": 2**12,
    "rounds": 2**10,
    "seconds": 4,
}
"""The package's own limits by their unit, lowered so that reaching one is cheap and exceeding one is seen."""

SMALLER: Mapping[str, int] = {"FIRST_RUN_BYTES": 512 * 2**20}
"""Those that have to be another number than their unit says."""

Say = Callable[[Mapping[str, Any]], None]


def lower_limits() -> None:
    """Set every limit of the package that is larger than ours."""
    from advcal_edge import limits

    for limit in vars(limits).values():
        if isinstance(limit, limits.Limit):
            lowered = SMALLER.get(limit.name, LIMITS.get(limit.unit, limit.default))
            os.environ[limit.variable] = str(min(lowered, limit.default))


class Worker:
    """Tries cases in a folder of its own; stdout and stderr go to a file and are read back."""

    def __init__(self, sandbox: Path) -> None:
        self.case = sandbox / "case"
        self.watch = Watch()
        self._told = sandbox / "told"
        self._prepare(sandbox)

    def _prepare(self, sandbox: Path) -> None:
        shutil.rmtree(sandbox, ignore_errors=True)
        bait = sandbox / "bait"
        bait.mkdir(parents=True)
        content = f"import sys\nsys.audit('{BAIT}.ran')\n\n\ndef factory(*a, **k):\n    sys.audit('{BAIT}.ran')\n"
        (bait / f"{BAIT}.py").write_text(content, encoding="utf-8")
        sys.path.append(str(bait))
        sys.dont_write_bytecode = True
        os.environ.update(
            ADVCAL_TRACEBACK="1", TMPDIR=str(self.case / WORK / "tmp"), HOME=str(self.case / WORK / "tmp")
        )
        tempfile.tempdir = None  # found again, from TMPDIR
        lower_limits()
        handle = os.open(self._told, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.close(handle)
        sys.stdin = open(os.devnull)  # noqa: SIM115
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
        import cv2

        cv2.setNumThreads(1)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        bound = pages * resource.getpagesize() + ADDRESSES
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
        self.watch.install()

    def write(self, target: Target, corpus: Path, seed: int, index: int) -> list[Action]:
        """A fresh folder with one case in it."""
        os.chdir(self.case.parent)
        shutil.rmtree(self.case, ignore_errors=True)
        self.case.mkdir()
        return write(target, corpus, self.case, seed, index)

    def take(self, source: Path) -> None:
        """A fresh folder with a copy of a saved input."""
        os.chdir(self.case.parent)
        shutil.rmtree(self.case, ignore_errors=True)
        shutil.copytree(source / WORK, self.case / WORK, symlinks=True, copy_function=copy)

    def judge(self, actions: Sequence[Action]) -> dict[str, Any]:
        """Do all of it: outcomes, violations, seconds."""
        self.watch.found.clear()
        self.watch.allowed = self.case / WORK
        os.chdir(self.case / WORK)
        started = time.perf_counter()
        outcomes = [self._act(action) for action in actions]
        strays = sorted(path.name for path in self.case.iterdir() if path.name != WORK)
        strays += sorted(path.name for path in self.case.parent.iterdir() if path.name not in ("case", "told", "bait"))
        if strays:
            self.watch.report("write", "outside of the case's folder", ", ".join(strays))
        return {
            "outcomes": outcomes,
            "violations": [violation.to_json() for violation in self.watch.found],
            "seconds": time.perf_counter() - started,
        }

    def _act(self, action: Action) -> str:
        os.truncate(self._told, 0)
        with self.watch.over(action):
            if action.verb == "cli":
                code = run_command(action.arguments)
            else:
                outcome = judge_call(self.watch, lambda: CALLS[action.verb](*action.arguments))
        sys.stdout.flush()
        sys.stderr.flush()
        told = self._told.read_bytes()
        judge_text(self.watch, action, told)
        if action.verb == "cli":
            outcome = judge_command(self.watch, code, told.decode("utf-8", "replace"))
        return outcome


def copy(source: str, target: str) -> None:
    """A file, or a pipe of that name: what the path of a trap leads to."""
    if stat.S_ISFIFO(os.lstat(source).st_mode):
        os.mkfifo(target)
    else:
        shutil.copy2(source, target)


def run_command(arguments: Sequence[str]) -> object:
    """One command line in this process; whatever leaves `main` other than its exit code is the exit code."""
    from advcal_edge.cli import main

    try:
        code: object = main(list(arguments))
        sys.stdout.flush()  # what cannot be encoded fails here
    except BaseException as error:
        return error
    return code


def write(target: Target, corpus: Path, folder: Path, seed: int, index: int) -> list[Action]:
    """Write a case into `folder`; only here may anything be nested deeply."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(RECURSION)
    try:
        return target.case(corpus, folder / WORK, seed, index)
    finally:
        sys.setrecursionlimit(usual)


def work(target: Target, corpus: Path, sandbox: Path, seed: int, indices: Sequence[int], say: Say) -> None:
    """Try the cases in turn: each is announced before it is tried, and its result told after."""
    worker = Worker(sandbox)
    for index in indices:
        actions = worker.write(target, corpus, seed, index)
        say({"index": index})
        result = worker.judge(actions)
        expected = ["refused" if action.refuses else "ok" for action in actions]
        if index < 0 and result["outcomes"] != expected:
            told = worker._told.read_text("utf-8", "replace")[-1500:]
            what = f"the unharmed input {target.seeds[-1 - index]} gives {result['outcomes']}; expected {expected}"
            result["violations"].append({"kind": "control", "signature": what, "detail": told})
        say({**result, "index": index, "actions": len(actions)})
        if threading.active_count() > 1:
            return  # an operator that cannot be interrupted still computes, and would be counted for the next case


def speak(handle: int) -> Say:
    """Say things as lines of JSON on a pipe."""

    def say(message: Mapping[str, Any]) -> None:
        os.write(handle, (json.dumps(message) + "\n").encode())

    return say
