"""How long a self-test takes: measured on a bundle, and estimated from operations for ImageBind on a small board.

`python benchmarks/selftest.py [BUNDLE] [--modality thermal] [--speed 0.3]` replays the self-test of the bundle's engine
`--times` times. For a trunk of ImageBind at its published size it counts the operations of one sample, multiplies them
with the samples that a self-test runs at most, and divides by a speed in TFLOP/s. The default is a quarter of the 1.28
TFLOP/s in fp32 that NVIDIA states for the Jetson Orin Nano (1,024 cores, 625 MHz, two operations a cycle); no Jetson
was at hand.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch

from advcal_edge.bundle import Bundle
from advcal_edge.encoders.imagebind.encoder import MODALITIES
from advcal_edge.encoders.imagebind.published import HUGE
from advcal_edge.encoders.imagebind.trunk import Trunk
from advcal_edge.encoders.operations import count_pass
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.selftest import run_selftest
from advcal_edge.verify.selftest import SETS, samples_per_set

TERA = 1e12
RUNS = 4
"""Of every stored input: twice alone, twice in a batch."""


def main() -> None:
    """Measure, estimate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, nargs="?", help="with a stored self-test of its engine")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--modality", choices=sorted(HUGE), default="thermal", help="of ImageBind")
    parser.add_argument("--speed", type=float, default=1.28 / 4, help="TFLOP/s")
    args = parser.parse_args()
    if args.bundle is not None:
        print(measured(args.bundle, args.engine, args.times))
    print(estimated(args.modality, args.speed))


def measured(path: Path, engine: str, times: int) -> str:
    """The self-test of a bundle on this machine, on one thread."""
    embedder, bundle = Embedder.load(path, engine, threads=1), Bundle.open(path)
    results = [run_selftest(embedder, bundle) for _ in range(times)]
    seconds = [result.seconds for result in results]
    return (
        f"{path} {embedder.precision} on {embedder.fingerprint}: {results[0].status}, {results[0].passes} passes,"
        f" median {statistics.median(seconds):.3f} s, {min(seconds):.3f} to {max(seconds):.3f} s of {times}"
    )


def estimated(modality: str, speed: float) -> str:
    """The self-test of ImageBind at its published size, from the operations of its products."""
    spec = MODALITIES[modality].input
    with torch.device("meta"):  # weights without values, which are not needed to count
        trunk = Trunk(HUGE[modality]).eval().requires_grad_(False)
    operations = count_pass(trunk.to("meta"), torch.empty(1, *spec.shape, device="meta")).forward
    samples = RUNS * SETS * samples_per_set(spec)
    total = samples * operations
    return (
        f"ImageBind {modality} {tuple(spec.shape)}: {operations / 1e9:.1f} GFLOP a sample, {samples} samples at most,"
        f" {total / TERA:.2f} TFLOP; {total / TERA / speed:.1f} s at {speed:g} TFLOP/s, 60 s at"
        f" {total / TERA / 60:.3f} TFLOP/s"
    )


if __name__ == "__main__":
    main()
