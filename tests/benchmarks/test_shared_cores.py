"""`benchmarks/shared_cores.py`: the fair share by hand, and that no busy process outlives the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import shared_cores
from shared_cores import ALONE, SLEEPING, SPINNING, Machine, Run, fair_share, judge, kept_busy, times_fair

BENCHMARKS = Path(shared_cores.__file__).parent
STARTS = """
import signal, time, shared_cores
signal.signal(signal.SIGTERM, shared_cores.end)
with shared_cores.kept_busy(2) as found:
    print(*found, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("threads", "cores", "others", "share"),
    [
        (2, 2, 0, 2.0),
        (1, 2, 0, 1.0),  # a thread has no use for two cores
        (4, 2, 0, 2.0),
        (2, 2, 12, 2 * 2 / 14),
        (1, 2, 12, 2 / 13),
        (1, 8, 3, 1.0),  # there are enough for all
    ],
)
def test_fair_share(threads: int, cores: int, others: float, share: float) -> None:
    assert fair_share(threads, cores, others) == pytest.approx(share)


def run(seconds: float, others: float = 0.0) -> Run:
    return Run(seconds, others, 5.0, {"train": 0.8 * seconds, "evaluate": 0.2 * seconds})


def test_ratio_to_the_fair_share() -> None:
    machine = Machine(threads=2, cores=2, busy=12)
    assert times_fair(run(70.0), run(10.0), machine) == pytest.approx(1)
    # two others: alone it gets one core of two, beside the busy ones a quarter
    assert times_fair(run(40.0, 2.0), run(10.0, 2.0), machine) == pytest.approx(1)
    rounds = [
        {ALONE: run(10.0), SLEEPING: run(70.0 * factor), SPINNING: Run(210.0, 0.0, 42.0)} for factor in (1.0, 1.2, 2.0)
    ]
    alone, sleeping, spinning, cost = judge(rounds, machine)
    assert alone.value.median == 10
    assert alone.note == "on 0.50 cores, 0.0 others running"
    assert (sleeping.value.low, sleeping.value.median, sleeping.value.high) == pytest.approx((1.0, 1.2, 2.0))
    assert sleeping.met is True
    assert spinning.value.median == pytest.approx(3)
    assert "on 0.20 cores, 0.0 others running; 3 of 3 stopped: at least" in spinning.note
    assert cost.value.median == pytest.approx(2.5)


def alive(pid: int) -> bool:
    """Is it there, and neither ended nor waiting to be collected?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_busy_processes_end_with_the_block() -> None:
    found: list[int] = []

    def broken() -> None:
        with kept_busy(2) as started:
            found.extend(started)
            assert all(map(alive, found))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert len(found) == 2
    assert not any(map(alive, found))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_busy_processes_end_with_a_program_that_is_killed(number: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{BENCHMARKS}{os.pathsep}{BENCHMARKS.parent}"}
    program = subprocess.Popen([sys.executable, "-c", STARTS], stdout=subprocess.PIPE, text=True, env=environment)
    assert program.stdout is not None
    with program.stdout:
        found = [int(word) for word in program.stdout.readline().split()]
    assert all(map(alive, found))
    program.send_signal(number)
    program.wait()
    end = time.monotonic() + 20
    while any(map(alive, found)) and time.monotonic() < end:
        time.sleep(0.05)
    assert len(found) == 2
    assert not any(map(alive, found))


@pytest.mark.parametrize("asked", [["--busy", "0"], ["--rounds", "x"]])
def test_refuses_what_makes_no_sense(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        shared_cores.parse(asked)
    assert asked[0] in capsys.readouterr().err
