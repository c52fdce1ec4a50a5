"""Our attacks against those of AutoAttack, adv-lib, torchattacks, foolbox and ART: `python benchmarks/attacks.py`.

On one torch model, the same samples, radius, steps and step sizes: accuracy that is left and seconds, one line for each
attack and library; then the throughput of PGD, what `select="last"` costs over a loop written by hand, and the standard
set of `verify` against AutoAttack. Prints aligned tables and writes `benchmarks/results/attacks-NORM.json` (`--out`).

Seconds are processor seconds of this process, since machines are shared; each includes the judging of what was crafted.

A library that is missing leaves its lines out, with the command that installs it. torchattacks and adv-lib must come in
by `pip install --no-deps`: they declare torchvision, which brings its own torch, and which their attacks do not call.

How close each attack comes to the best of all of them, and for how many queries, is measured by `attack_optimality.py`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import attack_libraries as libraries
import numpy as np
import torch
from attack_bench import Bench, Masks, line, load, ratio, record, timed
from attack_contests import OURS, STEP, STEPS, contests
from optimality_bench.targets import metered
from torch import Tensor
from torch.nn import functional as F

from advcal_edge.attacks import APGD, PGD, Attack, Square, TargetedAPGD
from advcal_edge.provenance import environment
from advcal_edge.report.table import percent, table
from advcal_edge.storage import write_atomic
from advcal_edge.threat import ThreatModel, parse_eps

HEADER = ["", "library", "accuracy %", "95 %", "seconds"]
PARTS = ("compare", "speed", "autoattack")


def compare(bench: Bench, present: Sequence[str], repeats: int) -> dict[str, Any]:
    """Every attack in every library; medians of seconds over `repeats` interleaved runs."""
    clean, found = bench.right(bench.x), {}
    for name, contest in contests(bench.threat.norm, bench.classes).items():
        runs: dict[str, Callable[[], Masks]] = {OURS: partial(bench.ours, contest.ours)}
        others = {library: craft for library, craft in contest.others.items() if library in present}
        runs |= {library: partial(bench.theirs, craft) for library, craft in others.items()}
        seconds: dict[str, list[float]] = {library: [] for library in runs}
        for _ in range(repeats):
            for library, run in runs.items():
                np.random.seed(0)  # noqa: NPY002 - some libraries draw from the global streams
                torch.manual_seed(0)
                right, taken = timed(run)
                seconds[library].append(taken)
                found.setdefault(name, {})[library] = record(clean & right, statistics.median(seconds[library]))
                print(*line(name, library, found[name][library]), sep="  ", file=sys.stderr, flush=True)
    return found


def bare_loop(bench: Bench, steps: int) -> Tensor:
    """PGD as people write it: all samples, all steps, nothing looked at."""
    parts, radius, (low, high) = [], bench.threat.radius, bench.threat.bounds
    for clean, y in zip(torch.split(bench.x, bench.batch), torch.split(bench.y, bench.batch), strict=True):
        x = (clean + torch.empty_like(clean).uniform_(-radius, radius)).clamp(low, high)
        for _ in range(steps):
            x.requires_grad_()
            (slope,) = torch.autograd.grad(F.cross_entropy(bench.scores(x), y, reduction="sum"), x)
            moved = x.detach() + STEP * radius * slope.sign()
            x = torch.min(torch.max(moved, clean - radius), clean + radius).clamp(low, high)
        parts.append(x)
    return torch.cat(parts)


def our_loop(bench: Bench, steps: int) -> Tensor:
    """`PGD(select="last")` as training calls it: tensors in, tensors out."""
    attack, rng = PGD(steps=steps, step=STEP, select="last"), np.random.default_rng(0)
    pairs = zip(torch.split(bench.x, bench.batch), torch.split(bench.y, bench.batch), strict=True)
    return torch.cat([attack.propose(bench.model, x, y, bench.threat, rng).x for x, y in pairs])


def speed(bench: Bench, present: Sequence[str], pairs: int) -> dict[str, Any]:
    """Ratios of seconds: our plainest loop over a bare one, and torchattacks over ours at two radii."""
    found: dict[str, Any] = {"n": len(bench.y)}
    if bench.threat.norm == "linf":
        found["last_over_bare_loop"] = ratio(partial(bare_loop, bench, 10), partial(our_loop, bench, 10), pairs)
    if "torchattacks" in present:
        craft = libraries.torchattacks_pgd(STEPS, STEP, bench.threat.norm)
        for factor in (1, 2):
            ball = replace(bench, threat=bench.threat.with_eps(factor * bench.threat.eps))
            ours = partial(ball.ours, PGD(steps=STEPS, step=STEP))
            timed_ratio = ratio(ours, partial(ball.theirs, craft), pairs)
            found[f"throughput {ball.threat}"] = {
                **timed_ratio,
                "passes": passes(ball, PGD(steps=STEPS, step=STEP), craft),
            }
    return found


def passes(bench: Bench, attack: Attack, craft: libraries.Craft) -> float:
    """Passes through the model, forward and backward, of another library over ours: what their seconds can differ by.

    On a sample that withstands, both make all of them.
    """
    goal, counts = metered("", bench, bench.threat, ""), []
    for run in (partial(goal.bench.theirs, craft), partial(goal.bench.ours, attack)):
        with goal.meter.watched(bench.x, bench.y, bench.threat) as watch:
            run()
        counts.append(watch.forwards + watch.backwards)
    return counts[0] / counts[1]


STANDARD: Sequence[Attack] = (PGD(steps=20), APGD(steps=50), APGD(steps=50, loss="margin"), Square(queries=1000))
TARGETED = TargetedAPGD(steps=10, targets=9, loss="margin")


def worst_case(bench: Bench, right: Masks, attacks: Sequence[Attack]) -> Masks:
    """What is left of `right`, each attack meeting the samples that have withstood those before it."""
    right = right.copy()
    for attack in attacks:
        rows = np.flatnonzero(right)
        if len(rows):
            right[rows] = bench.take(torch.from_numpy(rows)).ours(attack)
    return right


def against_autoattack(bench: Bench) -> dict[str, Any]:
    """Accuracy and seconds of the standard set of `verify`, of that and targets, and of AutoAttack."""
    left, seconds = timed(lambda: worst_case(bench, bench.right(bench.x), STANDARD))
    fewer, more = timed(lambda: worst_case(bench, left, [TARGETED]))
    craft = libraries.torchattacks_autoattack(bench.classes, bench.threat.norm)
    theirs, taken = timed(lambda: bench.right(bench.x) & bench.theirs(craft))
    return {
        "PGD-20, APGD-50 ce + margin, Square 1000": {"library": OURS, **record(left, seconds)},
        "the same and TargetedAPGD-10 x 9 margin": {"library": OURS, **record(fewer, seconds + more)},
        "AutoAttack standard": {"library": "torchattacks", **record(theirs, taken)},
    }


def main() -> None:
    """All parts, or those asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="a calibrated image bundle; without it the frozen encoder")
    parser.add_argument("--norm", choices=["linf", "l2"], default="linf")
    parser.add_argument("--eps", type=parse_eps, help="default 4/255 in linf, 1 in l2")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--autoattack-samples", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=1, help="of the comparison; seconds are medians")
    parser.add_argument("--pairs", type=int, default=7, help="interleaved pairs of timings")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    eps = args.eps if args.eps is not None else {"linf": 4 / 255, "l2": 1.0}[args.norm]
    bench = load(args.bundle, args.samples, ThreatModel(args.norm, eps, (0.0, 1.0)), args.batch)
    versions = {name: libraries.load(name) for name in libraries.DISTRIBUTIONS}
    present = [name for name, version in versions.items() if version is not None]
    for name, version in versions.items():
        print(f"{name} {version}" if version else f"{name} left out, it is not installed: {libraries.INSTALL[name]}")
    clean, machine = record(bench.right(bench.x), 0.0), environment()
    model = "frozen bindlite image" if args.bundle is None else args.bundle.name
    print(f"{machine['processor']}, {machine['cores']} cores, {args.threads} threads, torch {machine['torch']}")
    print(f"{model}, n = {clean['n']}, {bench.threat}, clean {percent(clean['accuracy'])} %\n", flush=True)
    result: dict[str, Any] = {
        "model": model, "threat": bench.threat.to_json(), "clean": clean, "versions": versions,
        "environment": machine, "threads": args.threads, "batch": args.batch,
    }  # fmt: skip

    if "compare" in args.parts:
        result["comparison"] = compare(bench, present, args.repeats)
        lines = [line(name, library, one) for name, by in result["comparison"].items() for library, one in by.items()]
        print(table(HEADER, lines) + "\n", flush=True)
    if "speed" in args.parts:
        result["speed"] = speed(bench.take(slice(256)), present, args.pairs)
        for name, one in result["speed"].items():
            if name != "n":
                spread = f"{one['smallest']:.3f} to {one['largest']:.3f} in {one['pairs']} pairs"
                limit = f", passes {one['passes']:.3f}" if "passes" in one else ""
                print(f"{name}: {one['ratio']:.3f} ({spread}, n = {result['speed']['n']}){limit}", flush=True)
        print()
    if "autoattack" in args.parts and "torchattacks" in present:
        part = bench.take(slice(args.autoattack_samples))
        found = result["worst_case"] = against_autoattack(part)
        print(f"worst case, n = {len(part.y)}")
        print(table(HEADER, [line(attack, one["library"], one) for attack, one in found.items()]))
    out = args.out or Path(__file__).parent / "results" / f"attacks-{args.norm}.json"
    write_atomic(out, (json.dumps(result, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
