"""What it costs to begin: CPU seconds of fresh processes; a shared processor makes them longer.

Python may keep compiled modules, as in every installation, and the unmeasured first turn makes it write them. NumPy's
BLAS gets one thread: it starts one for each core, whose waiting is counted as CPU time, 0.05 s and more on two cores.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gpu_bench.rows import Spread

from runtime_bench.rows import Goal, Row

LOAD = (
    "import sys, numpy\n"
    "from advcal_edge.runtime import Embedder\n"
    "embedder = Embedder.load(sys.argv[1], sys.argv[2])\n"
    "embedder(numpy.full((1, *embedder.spec.shape), sum(embedder.spec.bounds) / 2, numpy.float32))\n"
)
SESSION = (
    "import sys, numpy, onnxruntime\n"
    "session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])\n"
    "(port,) = session.get_inputs()\n"
    "session.run(None, {port.name: numpy.zeros((1, *port.shape[1:]), numpy.float32)})\n"
)
UNSET = "PYTHONDONTWRITEBYTECODE"
IMPORT, FIRST, HELP = Goal(high=0.25), Goal(high=0.5), Goal(high=0.3)


def measure(bundle: Path, large: Path | None, repeats: int) -> list[Row]:
    """The commands in turn, `repeats` times; `large` is a bundle whose engine weighs hundreds of megabytes."""
    calls = {
        "python": ["-c", "pass"],
        "numpy": ["-c", "import numpy"],
        "runtime": ["-c", "import advcal_edge.runtime"],
        "session": ["-c", SESSION, str(bundle / "onnx/forward.fp32.onnx")],
        "load": ["-c", LOAD, str(bundle), "auto"],
        "help": ["-m", "advcal_edge", "--help"],
    }
    if large is not None:
        calls["large session"] = ["-c", SESSION, str(large / "onnx/forward.fp32.onnx")]
        calls["large load"] = ["-c", LOAD, str(large), "auto"]
    found = in_turn(calls, repeats)
    rows = [
        row("import advcal_edge.runtime", found, "runtime", "import numpy", "numpy", IMPORT),
        row("load a bundle, first embedding", found, "load", "the same in a bare session", "session", FIRST),
        row("advcal-edge --help", found, "help", "python -c pass", "python", HELP),
    ]
    if large is not None:
        size = (large / "onnx/forward.fp32.onnx").stat().st_size / 1e6
        what = f"load an engine of {size:.0f} MB, first embedding"
        rows.append(row(what, found, "large load", "the same in a bare session", "large session", None))
    return rows


def row(what: str, found: Mapping[str, Sequence[float]], name: str, against: str, peer: str, goal: Goal | None) -> Row:
    """CPU seconds of one call, and in the note how many times those of its peer."""
    ratio = Spread.of([one / other for one, other in zip(found[name], found[peer], strict=True)])
    note = f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}] times {Spread.of(found[peer]).median:.3f} s"
    figures = {"ratio": ratio.median, "ratio_interval": [ratio.low, ratio.high]}
    return Row(what, against, "s CPU", Spread.of(found[name]), goal, note, figures)


def in_turn(calls: Mapping[str, Sequence[str]], repeats: int) -> dict[str, list[float]]:
    """CPU seconds of each call, once unmeasured and then `repeats` times."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, arguments in calls.items():
            seconds = cpu_seconds(arguments)
            found[name] += [seconds] if turn else []
    return found


def cpu_seconds(arguments: Sequence[str]) -> float:
    """User and system time of a fresh Python, its children included."""
    environment = {name: value for name, value in os.environ.items() if name != UNSET} | {"OPENBLAS_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
