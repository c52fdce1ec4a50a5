"""What the runtime costs beside its peers: `python benchmarks/runtime.py`, in some minutes.

Measures on the processor, all in CPU time and most as a ratio to a named peer, since other processes may share it:

- `Embedder` against the bare ONNX Runtime session that it runs, on one thread; ratios of neighbouring calls;
- the forward graphs against torch eager, the backward graph against torch autograd, each on one thread;
- the CPU seconds of fresh processes that import the runtime, load a bundle and embed once, load a heavy engine, and
  print the help of the command line;
- the CPU seconds and the peak memory of `verify` as its samples grow, with attacks of one step.

Prints one table with goals, and writes `benchmarks/results/runtime-MACHINE.json` (`--out`). Medians with
distribution-free 95 % intervals; those of p99 from resampled pairs. The median decides about a goal. The bundles are
made on the way, which takes two minutes, unless some are given.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from gpu_bench.settings import words
from runtime_bench.rows import Row, draw

from advcal_edge.provenance import environment
from advcal_edge.storage import write_atomic

CHILD = "--verify"
GROUPS = ("inference", "starting", "scaling")
SIZES, LARGE = ("1000", "3000", "10000"), ("30000", "100000")


def main(argv: Sequence[str]) -> None:
    """Measure, print and write; or, as a child, verify and print what it took."""
    if CHILD in argv:
        from runtime_bench import scaling

        _, bundle, samples = argv
        print(json.dumps(asdict(scaling.verify(Path(bundle), int(samples)))))
        return
    args = parse(argv)
    with TemporaryDirectory(prefix="advcal-edge.") as folder:
        rows = measure(args, Path(folder))
    from gpu_bench.device import slug

    machine = environment()
    result = {
        "environment": machine,
        "settings": {name: value for name, value in vars(args).items() if not isinstance(value, Path)},
        "vector_extensions": extensions(),
        "rows": [row.to_json() for row in rows],
    }
    out = args.out or Path(__file__).parent / "results" / f"runtime-{slug(machine['processor'])}.json"
    write_atomic(out, (json.dumps(result, indent=2) + "\n").encode())
    if args.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{machine['processor']}, {machine['cores']} cores, {extensions() or 'no int8 extensions'}\n\n{draw(rows)}\n")
    goals = [row.met for row in rows if row.met is not None]
    print(f"{sum(goals)} of {len(goals)} goals met\n{out}")


def measure(args: argparse.Namespace, folder: Path) -> list[Row]:
    """The rows of all groups that were not left out."""
    from runtime_bench import bundles, inference, scaling, starting  # not at the top: the child's memory is measured

    rows: list[Row] = []
    if set(args.skip) >= set(GROUPS):
        return rows
    image = imu = None
    if not {"inference", "starting"} <= set(args.skip):
        say("a bundle for images" if args.bundle is None else str(args.bundle))
        image = args.bundle or bundles.make("image", folder / "image")
    if image is not None and "inference" not in args.skip:
        say("inference")
        rows += inference.measure(image, args.batch, args.seconds)
    if image is not None and "starting" not in args.skip:
        say("starting")
        heavy = bundles.make_heavy(image, folder / "heavy", args.megabytes) if args.megabytes else None
        rows += starting.measure(image, heavy, args.repeats)
    if "scaling" not in args.skip:
        say("a bundle for motions")
        imu = bundles.copy(args.imu, folder / "imu") if args.imu else bundles.make("imu", folder / "imu")
        bundles.enlarge(imu, max(args.sizes))
        rows += scaling.measure([__file__, CHILD, str(imu)], args.sizes, args.verify_repeats, say)
    return rows


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read a command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="an exported bundle (fp32, int8, gradient), instead of one made")
    parser.add_argument("--imu", type=Path, help="the same for `verify`, which is copied and enlarged")
    parser.add_argument("--batch", type=numbers, default=(1, 8), metavar="N,N", help="default 1,8")
    parser.add_argument("--seconds", type=float, default=10.0, help="of measuring each pair; default 10")
    parser.add_argument("--repeats", type=int, default=9, help="fresh processes of each kind; default 9")
    parser.add_argument("--megabytes", type=int, default=350, help="of the heavy engine; 0 leaves it out; default 350")
    parser.add_argument("--sizes", type=numbers, default=numbers(",".join(SIZES)), metavar="N,N", help="of `verify`")
    parser.add_argument("--large", action="store_true", help=f"also {' and '.join(LARGE)} samples")
    parser.add_argument("--verify-repeats", type=int, default=1, help="runs of `verify` of each size; default 1")
    parser.add_argument("--skip", type=words, default=(), metavar="A,B", help=f"some of {', '.join(GROUPS)}")
    parser.add_argument("--json", action="store_true", help="print the document instead of the table")
    parser.add_argument("--out", type=Path, help="another place for the JSON")
    args = parser.parse_args(argv)
    unknown = [name for name in args.skip if name not in GROUPS]
    if unknown:
        parser.error(f"argument --skip: unknown {', '.join(unknown)}; expected some of {', '.join(GROUPS)}")
    if args.large:
        args.sizes = (*args.sizes, *map(int, LARGE))
    if len(args.sizes) < 3 and "scaling" not in args.skip:
        parser.error("argument --sizes: expected at least three, to tell a slope from the next")
    return args


def numbers(text: str) -> tuple[int, ...]:
    """Positive whole numbers between commas.

    Raises:
        ValueError: something else, which argparse turns into a message.
    """
    found = tuple(map(int, words(text)))
    if not found or min(found) < 1:
        raise ValueError(text)
    return found


def extensions() -> str:
    """What this processor has for products of int8; without it they are no faster than those of float32."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    flags = next((line.split() for line in lines if line.startswith(("flags", "Features"))), [])
    return ", ".join(flag for flag in flags if "vnni" in flag or flag in ("amx_int8", "asimddp", "i8mm"))


def say(text: str) -> None:
    """Tell what is under way."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
