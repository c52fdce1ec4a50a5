"""What a stream costs over a long time: `python benchmarks/stream.py BUNDLE --frames 1000000`, in some minutes.

Feeds frames of 8 x 8 pixels through `Embedder.stream`, every one of them, with the fp32 engine of a bundle for images.
Prints the resident memory and the percentiles of latency in each tenth, and the drift from the second to the last.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np

from advcal_edge.report.table import table
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.stream_statistics import Latencies

PARTS = 10


@dataclass(frozen=True, slots=True)
class Part:
    """A tenth of the frames: resident memory at its end in KiB, frames a second, seconds of latency."""

    frames: int
    kibibytes: int
    rate: float
    p50: float
    p99: float


def measure(embedder: Embedder, frames: int, ahead: int = 4) -> Iterator[Part]:
    """Feed frames through a stream, every one of them; a part after each tenth."""
    frame = np.random.default_rng(0).integers(1, 256, (8, 8, 3), dtype=np.uint8)
    each = frames // PARTS
    with embedder.stream(repeat(frame, each * PARTS), latest=False, ahead=ahead) as results:
        for _ in range(PARTS):
            latencies, start = Latencies(), time.perf_counter()
            for _ in range(each):
                result = next(results)
                if result.error is not None:
                    raise result.error
                latencies.add(result.latency)
            p50, p99 = latencies.percentile(50), latencies.percentile(99)
            yield Part(each, resident(), each / (time.perf_counter() - start), p50 or 0.0, p99 or 0.0)


def resident() -> int:
    """KiB of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def draw(parts: Sequence[Part]) -> str:
    """A table, and the drift below it."""
    rows = [
        (f"{k + 1}/{PARTS}", f"{p.kibibytes}", f"{p.rate:.0f}", f"{1e6 * p.p50:.0f}", f"{1e6 * p.p99:.0f}")
        for k, p in enumerate(parts)
    ]
    second, last = parts[1], parts[-1]
    memory, latency = last.kibibytes - second.kibibytes, last.p50 / second.p50
    drift = f"from the second tenth to the last: memory {memory:+} KiB, p50 x{latency:.3f}"
    return f"{table(('part', 'memory KiB', 'frames/s', 'p50 us', 'p99 us'), rows)}\n{drift}"


def main(argv: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="a bundle for images with an fp32 graph")
    parser.add_argument("--frames", type=int, default=1_000_000)
    args = parser.parse_args(argv)
    print(draw(list(measure(Embedder.load(args.bundle, "fp32", threads=1), args.frames))))


if __name__ == "__main__":
    main(sys.argv[1:])
