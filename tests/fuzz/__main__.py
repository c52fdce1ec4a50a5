"""`python -m tests.fuzz`: hostile input for as long as you like, reproducible case by case."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pkgutil
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any

import advcal_edge
from fuzz import ROOT
from fuzz.campaign import CPU_SECONDS, Campaign, Tally, cleared, fork, numbered
from fuzz.case import Target

ROUND = 30.0  # seconds that a target has before the next one is due
LOADED = ("cv2", "h5py", "jinja2", "laspy", "lazrs", "onnx", "onnxruntime", "plyfile", "safetensors.torch",
          "soundfile", "torch")  # fmt: skip
"""What workers need beside the package itself, imported once for all of them."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 where nothing was found, 1 else."""
    options = parse(arguments)
    for name in THREADS:
        os.environ.setdefault(name, "1")
    from fuzz.targets import PLANTED, TARGETS

    known = {**TARGETS, **PLANTED}
    unknown = sorted(set(options.target) - known.keys())
    if unknown:
        raise SystemExit(f"no target {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = [known[name] for name in options.target or TARGETS]
    with tempfile.TemporaryDirectory(prefix="advcal-fuzz.") as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        if not options.replay and not all(target.name in PLANTED for target in chosen):
            make_seeds(corpus)
        import_all()
        campaign = Campaign(corpus, cleared(Path(folder) / "sandbox"), options.findings, tell, options.deadline)
        if options.replay:
            return show_replay(campaign.replay(options.replay))
        tallies = run(campaign, chosen, options)
    print(table(tallies))
    if options.json:
        options.json.write_text(json.dumps({name: to_json(tally) for name, tally in tallies.items()}, indent=1) + "\n")
    return int(any(tally.violations for tally in tallies.values()))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, help="go on for so long, every target in turn")
    parser.add_argument("--seed", type=int, default=0, help="with the target and an index it names a case")
    parser.add_argument("--target", action="append", default=[], help="only this one; may be given more than once")
    parser.add_argument("--index", type=int, help="only this case; -1 is the first unharmed input")
    parser.add_argument("--start", type=int, default=0, help="the first index")
    parser.add_argument("--cases", type=int, help="so many of each target, instead of the number for CI")
    parser.add_argument("--deadline", type=float, default=CPU_SECONDS, help="processor seconds for one case")
    parser.add_argument("--findings", type=Path, default=ROOT / "fuzz-findings", help="where inputs are saved")
    parser.add_argument("--replay", type=Path, help="try a saved input again")
    parser.add_argument("--json", type=Path, help="write the counts to this file")
    return parser.parse_args(arguments)


def make_seeds(corpus: Path) -> None:
    """Write the seeds in a child, so that no thread of ours is alive where workers are forked."""
    receive, send = os.pipe()

    def make(say: Callable[[Mapping[str, Any]], None]) -> None:
        from fuzz.corpus import make_corpus

        make_corpus(corpus)

    pid = fork(make, receive, send)
    os.close(send)
    os.close(receive)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise SystemExit("the seeds cannot be made; the traceback is above")


def import_all() -> None:
    """Load what workers need, once for all of them."""
    package = [found.name for found in pkgutil.walk_packages(advcal_edge.__path__, "advcal_edge.")]
    for module in (*LOADED, *(name for name in package if not name.endswith("__main__"))):
        with contextlib.suppress(ImportError):
            import_module(module)
    platform.processor()  # asks a program once, and remembers


def run(campaign: Campaign, chosen: Sequence[Target], options: argparse.Namespace) -> dict[str, Tally]:
    """Every target: its number of cases, one case, or rounds of some seconds until the time is up."""
    tallies = {target.name: Tally() for target in chosen}
    if options.seconds is None:
        for target in chosen:
            last = options.start + (target.cases if options.cases is None else options.cases)
            every = takewhile(lambda index, last=last: index < last, numbered(options.start, len(target.seeds)))
            indices = every if options.index is None else iter([options.index])
            tallies[target.name] = campaign.run(target, options.seed, indices, lambda: True)
        return tallies
    streams = {target.name: numbered(options.start, len(target.seeds)) for target in chosen}
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        for target in chosen:
            until = min(end, time.monotonic() + min(ROUND, options.seconds / len(chosen)))
            goes_on = partial(before, until)
            found = campaign.run(target, options.seed, streams[target.name], goes_on)
            total = tallies[target.name]
            total.cases += found.cases
            total.outcomes += found.outcomes
            total.violations += found.violations
            total.seconds += found.seconds
    return tallies


def before(moment: float) -> bool:
    """Whether it is earlier than that."""
    return time.monotonic() < moment


def tell(text: str) -> None:
    """A finding, as soon as it is known."""
    print(text, flush=True)


def table(tallies: Mapping[str, Tally]) -> str:
    """A row for each target."""
    from advcal_edge.report.table import table as aligned

    rows = [
        [
            name,
            str(tally.cases),
            str(tally.outcomes["ok"]),
            str(tally.outcomes["refused"]),
            str(sum(tally.violations.values())),
            str(len(tally.violations)),
            f"{tally.seconds:.1f}",
        ]
        for name, tally in tallies.items()
    ]
    total = [sum(float(row[column]) for row in rows) for column in range(1, 7)]
    rows.append(["all", *(f"{value:.0f}" for value in total[:-1]), f"{total[-1]:.1f}"])
    return aligned(["target", "cases", "accepted", "refused", "violations", "distinct", "s"], rows)


def to_json(tally: Tally) -> dict[str, Any]:
    """Plain types."""
    return {
        "cases": tally.cases,
        "outcomes": dict(tally.outcomes),
        "violations": dict(tally.violations),
        "seconds": tally.seconds,
    }


def show_replay(result: dict[str, Any]) -> int:
    """What a saved input does now."""
    print(", ".join(result["outcomes"]))
    for violation in result["violations"]:
        print(f"VIOLATION {violation['signature']}\n{violation['detail']}")
    return int(bool(result["violations"]))


if __name__ == "__main__":
    sys.exit(main())
