"""How the time of a run falls with the number of workers, and what a million samples would cost.

    python benchmarks/cluster.py BUNDLE [--engine fp32] [--samples 512] [--attacks quick] [--workers 1,2,4]
                                 [--cluster dask:tcp://HOST:8786]

Every row is the same run on a fresh copy of the bundle, by so many processes of this machine, and perhaps one on a
cluster that is already there. All reports must be the same but for the seconds. Prints two tables in Markdown: what was
measured, and what follows from it on paper for a million samples and more workers than were tried.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from advcal_edge import VerifyOptions
from advcal_edge.bundle import Bundle
from advcal_edge.provenance import environment
from advcal_edge.storage import canonical, sha256_bytes
from advcal_edge.verify.cluster.parcel import pack
from advcal_edge.verify.cluster.pool import Where
from advcal_edge.verify.cluster.spread import verify_spread
from advcal_edge.verify.report import Report
from advcal_edge.verify.run import Watch
from advcal_edge.verify.samples import BLOCK

MILLION = 1_000_000
IMAGINED = (1, 16, 64, 256, 1024)


@dataclass(slots=True)
class Clock:
    """When the parts of one run ended, in seconds after its start."""

    started: float = field(default_factory=time.perf_counter)
    opened: float = 0.0
    """All models are loaded here, and workers start."""
    blocks: list[float] = field(default_factory=list)
    """Each block has come back."""
    written: float = 0.0

    def now(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.started

    def watch(self) -> Watch:
        """Callbacks that note the times."""

        def opened(run: object, options: object) -> None:
            self.opened = self.now()

        def progress(stage: str, done: int, total: int) -> None:
            if stage == "attack" and done:
                self.blocks.append(self.now())

        return Watch(progress, opened)


@dataclass(frozen=True, slots=True)
class Row:
    """One run, in seconds."""

    where: str
    workers: int
    whole: float
    opening: float
    first: float
    """From when workers start to the first block that comes back: they start Python and load the models."""
    attack: float
    """From when workers start to the last block."""
    confirming: float
    """From the last block to the end: the models here confirm the results, and the report is written."""
    per_block: float
    """Work on one block, as the workers measured it."""
    report: str
    """Hash of the report without seconds."""


def measure(bundle: Path, where: Where, workers: int, options: VerifyOptions) -> Row:
    """Run once on a fresh copy of a bundle without reports."""
    with tempfile.TemporaryDirectory(prefix="advcal-edge.") as folder:
        copy = Path(folder, "B")
        shutil.copytree(bundle, copy)
        opened = Bundle.open(copy)
        opened.remove([name for name in opened.manifest["files"] if name.startswith("reports/")])
        clock = Clock()
        reports = verify_spread(copy, where, options, watch=clock.watch())
        clock.written = clock.now()
    seconds = sum(float(report.measured["seconds"]) for report in reports)
    last = clock.blocks[-1]
    return Row(
        str(where),
        workers,
        clock.written,
        clock.opened,
        clock.blocks[0] - clock.opened,
        last - clock.opened,
        clock.written - last,
        seconds / len(clock.blocks),
        same(reports),
    )


def same(reports: Sequence[Report]) -> str:
    """A hash of reports that does not depend on how long they took."""
    documents = [report.to_json() for report in reports]
    for document in documents:
        document["measured"] = {name: value for name, value in document["measured"].items() if name != "seconds"}
    return sha256_bytes(canonical(json.loads(json.dumps({"reports": documents}))))


def measured_table(rows: Sequence[Row]) -> Iterator[str]:
    """What was measured, in Markdown."""
    yield "| workers | whole run, s | speed-up | until the first block, s | all blocks, s | confirming, s | report |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        yield (
            f"| {row.where} | {row.whole:.1f} | {rows[0].whole / row.whole:.2f} | {row.first:.1f} | {row.attack:.1f}"
            f" | {row.confirming:.1f} | `{row.report[:8]}` |"
        )


def paper_table(row: Row, blocks: int, parcel: int, state: int) -> Iterator[str]:
    """A million samples on more workers, by the times of one row: workers as fast as one process here, in Markdown."""
    many = ceil(MILLION / BLOCK)
    yield "| workers | blocks each | attacks, h | confirming, h | sent, GB | received, GB |"
    yield "|---|---|---|---|---|---|"
    for workers in IMAGINED:
        each = ceil(many / workers)
        attacks = (row.first + each * row.per_block) / 3600
        confirming = row.confirming / blocks * many / 3600
        yield (
            f"| {workers} | {each} | {attacks:.2f} | {confirming:.2f} | {workers * parcel / 1e9:.2f}"
            f" | {state / blocks * many / 1e9:.2f} |"
        )


def state_size(bundle: Path, options: VerifyOptions) -> int:
    """Bytes of all blocks of a run, as workers send them: measured once more, in this process."""
    from advcal_edge.verify.run import open_run

    with tempfile.TemporaryDirectory(prefix="advcal-edge.") as folder:
        opened = Bundle.open(bundle)
        with open_run(opened, options, Path(folder)) as run:
            (_, first), *_ = run.samples.blocks([0])
            return len(run.attack(first).to_bytes()) * run.samples.count


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 if two reports differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--engine", default="fp32")
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--attacks", default="quick")
    parser.add_argument("--reference", default="auto")
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--cluster", help="also on this cluster")
    chosen = parser.parse_args(arguments)
    options = VerifyOptions(chosen.engine, chosen.attacks, samples=chosen.samples, reference=chosen.reference)
    counts = [int(word) for word in chosen.workers.split(",")]
    places = [(Where.here(count), count) for count in counts]
    if chosen.cluster:
        places.append((Where.parse(chosen.cluster), 0))
    rows = []
    for where, count in places:
        rows.append(measure(chosen.bundle, where, count, options))
        print(f"{where}: {rows[-1].whole:.1f} s", file=sys.stderr, flush=True)
    about = environment()
    samples = min(chosen.samples, len(Bundle.open(chosen.bundle).samples("probe.npz").y))
    print(f"{about['processor']}, {about['cores']} cores; {chosen.engine}, {chosen.attacks}, n = {samples}\n")
    print("\n".join(measured_table(rows)))
    blocks = ceil(samples / BLOCK)
    parcel = len(pack(Bundle.open(chosen.bundle), chosen.engine)[0])
    print(f"\nA million samples on paper, by the first row ({rows[0].per_block:.2f} s a block):\n")
    print("\n".join(paper_table(rows[0], blocks, parcel, state_size(chosen.bundle, options))))
    return 0 if len({row.report for row in rows}) == 1 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
