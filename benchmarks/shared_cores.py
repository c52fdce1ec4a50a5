"""How a calibration fares on cores that others keep busy: `python benchmarks/shared_cores.py`, in some minutes.

Runs a short `advcal-edge calibrate` in turn

- alone;
- beside `--busy` processes that never wait, pinned nowhere, as the command is: its idle threads sleep;
- beside them with threads that spin while they wait (OMP_WAIT_POLICY=ACTIVE), the peer.

A process of t threads beside n that are busy gets at best t * cores / (n + t) of the cores, and never more than
min(t, cores): its fair share. A figure is the seconds of a run times the cores of its fair share, over the same of the
run alone: 1 is the fair share, 2 takes twice as long as that. Where a calibration computes on a single thread, which
alone costs it nothing, it can get no more than cores / (n + 1). Seconds are its own, without the start of Python; the
others are started after it. A run is stopped after `--longest` seconds, and counts as so many.

What else runs on the machine counts among the n, alone as well: the processes that are running besides, looked at
before each run. Prints a table and writes `benchmarks/results/shared-cores-MACHINE.json` (`--out`): medians with
distribution-free 95 % intervals, which are ranges below six rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from types import FrameType

from gpu_bench.rows import Spread
from runtime_bench.rows import Goal, Row, draw

from advcal_edge.cli.cores import usable_cores
from advcal_edge.provenance import environment
from advcal_edge.storage import write_atomic

ALONE, SLEEPING, SPINNING = "alone", "sleeping", "spinning"
SPIN = {"OMP_WAIT_POLICY": "ACTIVE"}
FAIR = Goal(high=1.5)
# ends by itself when the program that started it is gone, however that ended
NEVER_WAITS = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): sum(range(100_000))"
SAMPLES, APART = 20, 0.05  # looks at what is running besides, and seconds between them
FRAMES, SEED = 64, 4
BUDGET = ("train.batch=16", "train.epochs=1", "evaluate.samples=8", "evaluate.steps=2", "evaluate.queries=5")


@dataclass(frozen=True, slots=True)
class Run:
    """One calibration: its seconds, the seconds of its parts, and how many processes were running besides."""

    seconds: float
    """At least so many, if it was stopped."""
    others: float
    processor: float
    """Processor seconds that it used, also of spinning."""
    parts: Mapping[str, float] | None = None
    """Of training and of evaluation; None if it was stopped."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Who shares what: the calibration's threads, the cores, and the processes that are kept busy."""

    threads: int
    cores: int
    busy: int


def main(argv: Sequence[str]) -> None:
    """Measure, print and write."""
    args = parse(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    machine, load = Machine(args.threads, args.cores, args.busy), os.getloadavg()
    deadline = monotonic() + 60 * args.minutes
    with TemporaryDirectory(prefix="advcal-edge.") as folder:
        write_frames(Path(folder))
        rounds = measure(machine, Path(folder), args.rounds, args.longest, deadline)
    if not rounds:
        raise SystemExit(f"no round was finished in {args.minutes:g} minutes; raise `--minutes`")
    rows = judge(rounds, machine)
    facts = environment()
    result = {
        "environment": facts,
        "settings": {**asdict(machine), "longest": args.longest, "frames": FRAMES, "budget": BUDGET},
        "load_average_before": load,
        "rounds": [{name: asdict(run) for name, run in one.items()} for one in rounds],
        "rows": [row.to_json() for row in rows],
    }
    from gpu_bench.device import slug

    out = args.out or Path(__file__).parent / "results" / f"shared-cores-{slug(facts['processor'])}.json"
    write_atomic(out, (json.dumps(result, indent=2) + "\n").encode())
    print(f"{facts['processor']}, {args.cores} cores, load {load[0]:.1f} before\n\n{draw(rows)}\n\n{out}")


def write_frames(folder: Path) -> None:
    """Thermal scenes in class folders: rendering them is no part of what is measured."""
    import cv2
    import numpy as np

    from advcal_edge.calibrate.data.builtin.rendering import scene_samples

    samples = scene_samples("thermal", SEED, FRAMES)
    for row, label in enumerate(samples.labels):
        path = folder / samples.names[label] / f"{row}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.asarray(samples.frames[row]))


def measure(machine: Machine, data: Path, rounds: int, longest: float, deadline: float) -> list[dict[str, Run]]:
    """Rounds of one run of each kind; those that were finished before the deadline."""
    kinds: dict[str, tuple[int, Mapping[str, str]]] = {
        ALONE: (0, {}),
        SLEEPING: (machine.busy, {}),
        SPINNING: (machine.busy, SPIN),
    }
    found: list[dict[str, Run]] = []
    for _ in range(rounds):
        own: dict[str, Run] = {}
        for name, (busy, variables) in kinds.items():
            left = deadline - monotonic()
            if left < longest:
                return found
            own[name] = calibrate(busy, {**variables, "OMP_NUM_THREADS": str(machine.threads)}, data, longest)
            print(f"{name}: {own[name].seconds:.1f} s, {own[name].others:.1f} running", file=sys.stderr, flush=True)
        found.append(own)
    return found


def calibrate(busy: int, variables: Mapping[str, str], data: Path, longest: float) -> Run:
    """One calibration, by its own account, beside others from when it says what it does."""
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    others, earlier = running_besides(), ended_seconds()
    with TemporaryDirectory(prefix="advcal-edge.") as folder:
        out, log = Path(folder, "out"), Path(folder, "log")
        asked = ["--modality", "thermal", "--data", str(data), "--out", str(Path(folder, "B")), "--device", "cpu"]
        settings = [word for setting in BUDGET for word in ("--set", setting)]
        with out.open("wb") as stdout, log.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "advcal_edge", "calibrate", *asked, *settings, "--json"],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={**inherited, **variables},
            )
            try:
                while b"\n" not in log.read_bytes() and process.poll() is None:
                    sleep(0.01)
                before = own_seconds(process.pid)
                with kept_busy(busy):
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(timeout=longest)
                    stopped = process.poll() is None
                    process.kill()
                    code = process.wait()
                    used = ended_seconds() - earlier - before
            finally:
                process.kill()
                process.wait()
        if stopped:
            return Run(longest, others, used)
        if code:
            raise SystemExit(f"`advcal-edge calibrate` ended with {code}:\n{log.read_text(encoding='utf-8')}")
        spent = json.loads(out.read_text(encoding="utf-8"))["seconds"]
    return Run(spent.pop("total"), others, used, spent)


def ended_seconds() -> float:
    """Processor seconds of all processes that this one started and that have ended."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def own_seconds(pid: int) -> float:
    """Those of a process that runs, on Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def kept_busy(count: int) -> Iterator[list[int]]:
    """So many processes that never wait, until the block ends; gives their numbers."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            started.append(subprocess.Popen([sys.executable, "-c", NEVER_WAITS, str(os.getpid())]))
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()


def running_besides() -> float:
    """Processes that run or want to, without this one, on average over a second; by the load where Linux is not."""
    try:
        looks = [looked() for _ in range(SAMPLES)]
    except (OSError, StopIteration):
        return os.getloadavg()[0]
    return sum(looks) / len(looks)


def looked() -> int:
    """The same at one moment."""
    sleep(APART)
    lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("procs_running")) - 1


def fair_share(threads: int, cores: int, others: float) -> float:
    """Cores that a process of so many threads gets at best beside so many others, all with equal rights."""
    return min(threads, cores, threads * cores / (others + threads))


def times_fair(run: Run, alone: Run, machine: Machine) -> float:
    """How many times as long as by its fair share a run beside busy processes took, from that of one alone."""
    share = fair_share(machine.threads, machine.cores, machine.busy + run.others)
    return run.seconds * share / (alone.seconds * fair_share(machine.threads, machine.cores, alone.others))


def judge(rounds: Sequence[Mapping[str, Run]], machine: Machine) -> list[Row]:
    """Seconds alone, the others as multiples of the fair share, and what spinning costs."""
    rows = [Row("calibrate alone", "", "s", seconds(rounds, ALONE), note=besides(rounds, ALONE))]
    for name, goal in ((SLEEPING, FAIR), (SPINNING, None)):
        what = f"calibrate beside {machine.busy} busy, threads {name}"
        ratio = Spread.of([times_fair(one[name], one[ALONE], machine) for one in rounds])
        spent = seconds(rounds, name)
        note = f"{spent.median:.1f} s [{spent.low:.1f}, {spent.high:.1f}], {besides(rounds, name)}"
        rows.append(Row(what, f"fair share of {machine.cores} cores", "x", ratio, goal, note))
    cost = Spread.of([one[SPINNING].seconds / one[SLEEPING].seconds for one in rounds])
    rows.append(Row("seconds of spinning threads", "sleeping threads", "x", cost))
    return rows


def seconds(rounds: Sequence[Mapping[str, Run]], name: str) -> Spread:
    """Of the runs of one kind."""
    return Spread.of([one[name].seconds for one in rounds])


def besides(rounds: Sequence[Mapping[str, Run]], name: str) -> str:
    """What the runs of one kind had of the cores, what else was running, and how many were stopped, in words."""
    runs = [one[name] for one in rounds]
    cores, others = (Spread.of([value(run) for run in runs]).median for value in (obtained, attrgetter("others")))
    stopped = sum(run.parts is None for run in runs)
    end = f"; {stopped} of {len(runs)} stopped: at least" if stopped else ""
    return f"on {cores:.2f} cores, {others:.1f} others running{end}"


def obtained(run: Run) -> float:
    """Cores that a run computed on, on average."""
    return run.processor / run.seconds


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read a command line."""
    cores = usable_cores()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=positive, default=12, help="processes that never wait; default 12")
    parser.add_argument("--threads", type=positive, default=cores, help="of the calibration; default one a core")
    parser.add_argument("--rounds", type=positive, default=3, help="runs of each kind; default 3")
    parser.add_argument("--longest", type=float, default=180.0, help="seconds of a run; default 180")
    parser.add_argument("--minutes", type=float, default=15.0, help="for everything; default 15")
    parser.add_argument("--out", type=Path, help="another place for the JSON")
    args = parser.parse_args(argv)
    args.cores = cores
    return args


def positive(text: str) -> int:
    """A whole number above zero.

    Raises:
        ValueError: something else, which argparse turns into a message.
    """
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def end(number: int, frame: FrameType | None) -> None:
    """End as on Ctrl-C, so that everything that was started ends too."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main(sys.argv[1:])
