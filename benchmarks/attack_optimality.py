"""How close each attack comes to the best of all: `python benchmarks/attack_optimality.py --bundle BUNDLE`.

The measure of AttackBench (arXiv 2404.19460): our attacks and those of AutoAttack, adv-lib, torchattacks, foolbox and
ART run on the same samples of three models in two norms. Bisection of the radius gives the smallest radius within which
each succeeds on each sample, its distance; the best of a sample is the smallest distance over all of them. Local
optimality is one for an attack that comes as near on every sample, zero for one that finds nothing. A wrapper of the
model counts forward and backward passes, and sees every input, the same for all libraries.

Each (model, norm) has a file `MODEL-NORM.json` in `--out`, with a line for each attack, library and seed, written as
soon as it is measured: run the command again after a stop, and it goes on. `--estimate` says what the rest costs at
most; `--table` prints what has been measured so far as Markdown. Programs that run at once must take different models
or norms. `--again LIBRARY` measures a library once more, for example ours after a change.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attack_libraries as libraries
import numpy as np
import torch
from attack_contests import OURS, Contest, contests
from optimality_bench.costs import most_seconds, time_passes
from optimality_bench.records import Key, Records
from optimality_bench.search import Run, Search
from optimality_bench.summary import render
from optimality_bench.targets import MODELS, NEEDS, Target, available, target
from torch import Tensor

from advcal_edge import __version__
from advcal_edge.attacks import Attack
from advcal_edge.provenance import environment
from advcal_edge.threat import NORMS, ThreatModel, parse_eps

RESULTS = Path(__file__).parent / "results" / "attack-optimality"


def ours(attack: Attack, goal: Target, seed: int) -> Run:
    """An attack of this package without the judging that `run_attack` adds: others are not charged for theirs."""
    rng = np.random.default_rng(seed)

    def run(x: Tensor, y: Tensor, ball: ThreatModel) -> Tensor:
        x_adv: Tensor = ball.project(attack.propose(goal.bench.model, x, y, ball, rng).x, x)
        return x_adv

    return run


def theirs(craft: libraries.Craft, goal: Target) -> Run:
    """An attack of another library."""
    return lambda x, y, ball: craft(goal.bench.scores, x, y, ball.radius)


def runs(
    goal: Target, names: Sequence[str], seeds: Sequence[int], only: Sequence[str]
) -> Iterator[tuple[Key, Contest, Run]]:
    """Everything to measure on a model, the attacks of one kind and seed beside each other."""
    for attack, contest in contests(goal.bench.threat.norm, goal.bench.classes).items():
        if only and not any(attack.lower().startswith(word.lower()) for word in only):
            continue
        for seed in seeds:
            if OURS in names:
                yield Key(attack, OURS, seed), contest, ours(contest.ours, goal, seed)
            for library, craft in contest.others.items():
                if library in names:
                    yield Key(attack, library, seed), contest, theirs(craft, goal)


def settings(goal: Target, rounds: int) -> dict[str, Any]:
    """What must be the same for two records to be comparable."""
    bench = goal.bench
    return {
        "model": goal.description, "weights": bench.model.runner.fingerprint, "n": len(bench.y),
        "ball": str(bench.threat), "threat": bench.threat.to_json(), "clean": float(bench.right(bench.x).mean()),
        "rounds": rounds, "batch": bench.batch,
    }  # fmt: skip


def measure(
    goal: Target, records: Records, todo: Sequence[tuple[Key, Contest, Run]], versions: dict[str, str], rounds: int
) -> None:
    """Fill in what is missing, and say so line by line."""
    bench, processor = goal.bench, environment()["processor"]
    for key, _, run in todo:
        search = Search(run, goal.meter, bench.x, bench.y, bench.threat, bench.batch, key.seed)
        found = search.bisect(rounds)
        figures = {
            "version": versions[key.library], "processor": processor, "left": round(found.left, 6),
            "forwards": round(found.forwards, 2), "backwards": round(found.backwards, 2),
            "searched": round(found.searched, 2), "seconds": round(found.seconds, 2),
        }  # fmt: skip
        records.add(key, found.distances, bench.threat.eps, figures)
        told = (
            f"{100 * found.left:.1f} % left, {found.forwards:.0f} + {found.backwards:.0f} passes, {found.seconds:.1f} s"
        )
        print(goal.name, bench.threat, key.attack, key.library, f"seed {key.seed}: {told}", file=sys.stderr, flush=True)


def present() -> dict[str, str]:
    """Versions of the libraries that are there, ours among them; says how the others are installed."""
    found = {OURS: __version__}
    for name in libraries.DISTRIBUTIONS:
        version = libraries.load(name)
        if version is None:
            print(f"{name} left out, it is not installed: {libraries.INSTALL[name]}", file=sys.stderr)
        else:
            found[name] = version
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="the calibrated image bundle; without it that model is left out")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--norms", nargs="+", choices=list(NORMS), default=list(NORMS))
    parser.add_argument("--libraries", nargs="+", choices=[OURS, *libraries.DISTRIBUTIONS], help="default all")
    parser.add_argument("--attacks", nargs="+", default=[], help="only attacks whose names begin so")
    parser.add_argument("--eps", type=parse_eps, help="in linf, default the bundle's or 4/255; in l2 the same energy")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument(
        "--rounds",
        type=int,
        choices=range(1, 11),
        default=5,
        metavar="N",
        help="bisections of the radius: distances to 1 / 2^rounds of it",
    )
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--again", nargs="+", choices=[OURS, *libraries.DISTRIBUTIONS], default=[])
    parser.add_argument("--estimate", action="store_true", help="say what the rest costs at most, and measure nothing")
    parser.add_argument(
        "--table", action="store_true", help="print the tables of what is in `--out`, and measure nothing"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Estimate, measure what is missing, and print the tables."""
    args = parse(arguments)
    paths = {(model, norm): args.out / f"{model}-{norm}.json" for model in args.models for norm in args.norms}
    if args.table:
        print("\n\n".join(render(Records.read(path)) for path in paths.values() if path.exists()))
        return
    torch.set_num_threads(args.threads)
    versions, total = present(), 0.0
    names = [name for name in args.libraries or versions if name in versions]
    for (model, norm), path in paths.items():
        if not available(model, args.bundle):
            print(f"{model} left out, it needs {NEEDS[model]}", file=sys.stderr)
            continue
        goal = target(model, norm, args.bundle, args.eps, args.samples, args.batch)
        records = Records(path, settings(goal, args.rounds))
        todo = [
            one for one in runs(goal, names, args.seeds, args.attacks)
            if one[0].library in args.again or records.needs(one[0], versions[one[0].library])
        ]  # fmt: skip
        passes = time_passes(goal)
        most = sum(most_seconds(contest, passes, len(goal.bench.y), args.rounds) for _, contest, _ in todo)
        total += most
        print(
            f"{path.name}: {len(todo)} to measure, {len(records.found)} there, at most {most / 60:.0f} min",
            file=sys.stderr,
        )
        if not args.estimate:
            measure(goal, records, todo, versions, args.rounds)
            print(render(records) + "\n", flush=True)
    print(f"in all at most {total / 60:.0f} min of processor time", file=sys.stderr)


if __name__ == "__main__":
    main()
