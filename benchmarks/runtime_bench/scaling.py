"""How time and memory of a verification grow with its samples, each number of them in a process of its own."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from gpu_bench.rows import Spread

from advcal_edge.bundle import Bundle
from advcal_edge.verify import Budget
from advcal_edge.verify.options import VerifyOptions
from advcal_edge.verify.outcome import make_reports
from advcal_edge.verify.run import open_run
from runtime_bench.rows import Goal, Row

# one step each: what is measured is all that is around them
CHEAP = Budget(
    "cheap",
    ("ce",),
    {
        "pgd_steps": 1,
        "pgd_restarts": 1,
        "apgd_steps": 1,
        "apgd_restarts": 1,
        "targets": 0,
        "difference_steps": 0,
        "square_queries": 0,
        "label_queries": 0,
    },
)
LINEAR, FLAT = Goal(0.95, 1.05), Goal(high=1.05)


@dataclass(frozen=True, slots=True)
class Cheap(VerifyOptions):
    """A request whose attacks cost next to nothing."""

    def budget(self) -> Budget:
        """One step of one attack of a kind."""
        return CHEAP


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one verification: CPU seconds without those of starting Python, and the peak of resident memory."""

    samples: int
    seconds: float
    megabytes: float


def verify(bundle: Path, samples: int) -> Usage:
    """Attack, question, decide in this process; the report is made and not kept."""
    opened = Bundle.open(bundle)
    before = resource.getrusage(resource.RUSAGE_SELF)
    with TemporaryDirectory() as root:
        request = Cheap(engine="int8", samples=samples, reference="onnx", sources="none")
        with open_run(opened, request, Path(root)) as prepared:
            prepared.run()
            (report,) = make_reports(opened, prepared)
            json.dumps(report.to_json())
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Usage(report.derived["samples"], seconds, peak_megabytes())


def peak_megabytes() -> float:
    """Of this process alone: `ru_maxrss` would begin with that of the process that started it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def measure(command: Sequence[str], sizes: Sequence[int], repeats: int, say: Callable[[str], None]) -> list[Row]:
    """Rows from runs of `command` with a number of samples, which print a usage as JSON."""
    found: dict[int, list[Usage]] = {size: [] for size in sorted(sizes)}
    environment = os.environ | {
        "OMP_NUM_THREADS": "1"
    }  # more threads spin while they wait, and that counts as CPU time
    for _ in range(repeats):
        for size, usages in found.items():
            run = [sys.executable, *command, str(size)]
            done = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
            usages.append(Usage(**json.loads(done.stdout)))
            say(f"verify {size:,}: {usages[-1].seconds:.1f} s CPU, {usages[-1].megabytes:.0f} MB")
    return judge(list(found.values()))


def judge(found: Sequence[Sequence[Usage]]) -> list[Row]:
    """What a sample costs, whether a later one costs more than an earlier one, and what memory does."""
    figures = {"runs": [asdict(usage) for usages in found for usage in usages]}
    last, rows = found[-1], []
    each = Spread.of([1000 * usage.seconds / usage.samples for usage in last])
    rows.append(Row(f"verify {last[0].samples:,} samples", "a sample", "ms CPU", each, figures=figures))
    steps = [(earlier, later, rates(earlier, later)) for earlier, later in pairwise(found)]
    for (first, _, base), (earlier, later, rate) in pairwise(steps):
        what = f"verify, a sample from {earlier[0].samples:,} to {later[0].samples:,}"
        against = f"from {first[0].samples:,} to {earlier[0].samples:,}"
        ratio = Spread.of([one / other for one, other in zip(rate, base, strict=True)])
        rows.append(Row(what, against, "x CPU", ratio, LINEAR))
    for earlier, later in pairwise(found):
        ratio = Spread.of([b.megabytes / a.megabytes for a, b in zip(earlier, later, strict=True)])
        what, against = f"verify, memory of {later[0].samples:,} samples", f"of {earlier[0].samples:,}"
        peak = Spread.of([usage.megabytes for usage in later]).median
        rows.append(Row(what, against, "x peak", ratio, FLAT, f"{peak:.0f} MB"))
    return rows


def rates(earlier: Sequence[Usage], later: Sequence[Usage]) -> list[float]:
    """CPU seconds of one sample more, which leaves out what every run costs once."""
    return [(b.seconds - a.seconds) / (b.samples - a.samples) for a, b in zip(earlier, later, strict=True)]
