"""Many cases of one target: workers are forked, watched from outside, and replaced when they die."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

from fuzz.case import Action, Target, load, save
from fuzz.worker import Say, Worker, speak, work, write

CPU_SECONDS = 40.0
"""Of processor time for one case: a slow or busy machine takes longer by the clock and not by this."""

CLOCK_SECONDS = 240.0
"""For what waits and computes nothing."""

BATCH = 400  # cases one worker tries before it is replaced
SHOWN = 3  # inputs saved for one signature


@dataclass
class Tally:
    """What came of a target so far."""

    cases: int = 0
    actions: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def take(self, result: dict[str, Any]) -> None:
        """Add one case."""
        self.cases += 1
        self.outcomes.update(result["outcomes"])
        self.violations.update({violation["signature"] for violation in result["violations"]})


@dataclass(frozen=True)
class Campaign:
    """Where the seeds are, where workers may write, where findings go, and who is told of each."""

    corpus: Path
    sandbox: Path
    findings: Path
    tell: Callable[[str], None]
    deadline: float = CPU_SECONDS

    def run(self, target: Target, seed: int, indices: Iterator[int], goes_on: Callable[[], bool]) -> Tally:
        """Try the cases as long as `goes_on` says so."""
        tally, started = Tally(), time.perf_counter()
        while goes_on() and (batch := list(islice(indices, BATCH))):
            waiting = batch
            while waiting and goes_on():
                waiting = self._batch(target, seed, waiting, tally, goes_on)
        tally.seconds = time.perf_counter() - started
        return tally

    def replay(self, folder: Path) -> dict[str, Any]:
        """Try a saved input again."""
        actions = load(folder)

        def again(say: Say) -> None:
            worker = Worker(self.sandbox / "replay")
            worker.take(folder)
            say({"index": 0})
            say({**worker.judge(actions), "index": 0})

        found: list[dict[str, Any]] = []
        self._follow(again, found.append, lambda: True)
        return found[-1]

    def _batch(
        self, target: Target, seed: int, indices: Sequence[int], tally: Tally, goes_on: Callable[[], bool]
    ) -> list[int]:
        """One worker's cases; those left to do when it died or was stopped."""
        done: list[int] = []

        def hear(result: dict[str, Any]) -> None:
            done.append(result["index"])
            fresh = [v for v in result["violations"] if tally.violations[v["signature"]] < SHOWN]
            tally.take(result)
            for violation in fresh:
                self._keep(target, seed, result["index"], violation)

        sandbox = self.sandbox / target.name
        self._follow(lambda say: work(target, self.corpus, sandbox, seed, indices, say), hear, goes_on)
        return list(indices[len(done) :]) if done else []

    def _follow(
        self, job: Callable[[Say], None], hear: Callable[[dict[str, Any]], None], goes_on: Callable[[], bool]
    ) -> None:
        """Fork, hear every result, and make a result of its own of a crash or a hang."""
        receive, send = os.pipe()
        pid = fork(job, receive, send)
        os.close(send)
        lines, current, begun, spent = b"", None, time.monotonic(), 0.0
        verdict = ""
        while True:
            ready, _, _ = select.select([receive], [], [], 0.25)
            if ready:
                part = os.read(receive, 1 << 20)
                if not part:
                    break
                lines += part
                *whole, lines = lines.split(b"\n")
                for line in whole:
                    message = json.loads(line)
                    if "outcomes" in message:
                        hear(message)
                        current = None
                    else:
                        current = message["index"]
                    begun, spent = time.monotonic(), processor_seconds(pid)
            used, waited = processor_seconds(pid) - spent, time.monotonic() - begun
            if current is not None and (used > self.deadline or waited > CLOCK_SECONDS):
                verdict = f"hang: {used:.0f} s of processor time in {waited:.0f} s"
                os.kill(pid, signal.SIGKILL)
                break
            if current is None and not goes_on():
                os.kill(pid, signal.SIGKILL)
                break
        os.close(receive)
        _, status = os.waitpid(pid, 0)
        if current is not None:
            died = verdict or f"crash: {describe(status)}"
            kind = died.partition(":")[0]
            signature = "hang" if kind == "hang" else died
            violation = {"kind": kind, "signature": signature, "detail": died}
            hear({"index": current, "outcomes": ["violation"], "violations": [violation], "seconds": 0.0})
        elif os.WIFEXITED(status) and os.WEXITSTATUS(status):
            raise RuntimeError("a worker failed outside of any case; its traceback is above")

    def _keep(self, target: Target, seed: int, index: int, violation: dict[str, str]) -> None:
        """Save an input and say how to try it again."""
        folder = self.findings / f"{target.name}-{seed}-{index}"
        if not folder.exists():
            folder.mkdir(parents=True)

            def again(say: Say) -> None:
                actions: list[Action] = write(target, self.corpus, folder, seed, index)
                save(folder, {"target": target.name, "seed": seed, "index": index}, actions)

            self._follow(again, lambda result: None, lambda: True)
        text = f"{violation['signature']}\n\n{violation['detail']}\n\n"
        with (folder / "violation.txt").open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        self.tell(
            f"VIOLATION {target.name} {index}: {violation['signature']}\n"
            f"  again: python -m tests.fuzz --target {target.name} --seed {seed} --index {index}\n"
            f"  or:    python -m tests.fuzz --replay {folder}"
        )


def fork(job: Callable[[Say], None], receive: int, send: int) -> int:
    """Do `job` in a child of this process, which tells what it finds through a pipe."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.close(receive)
        complaints = os.dup(2)
        job(speak(send))
        status = 0
    except BaseException:
        os.write(complaints, traceback.format_exc().encode("utf-8", "backslashreplace"))
    finally:
        os._exit(status)


def describe(status: int) -> str:
    """How a process ended."""
    if os.WIFSIGNALED(status):
        return f"signal {signal.Signals(os.WTERMSIG(status)).name}"
    return f"the process ended itself with {os.WEXITSTATUS(status)}"


def processor_seconds(pid: int) -> float:
    """What a process has computed so far, all threads together."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def numbered(start: int = 0, controls: int = 0) -> Iterator[int]:
    """Controls first, then every index from `start`."""
    yield from range(-1, -controls - 1, -1)
    yield from count(start)


def cleared(folder: Path) -> Path:
    """An empty folder there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
