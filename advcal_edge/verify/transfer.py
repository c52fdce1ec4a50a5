"""Judge a suite on an engine that is not attacked itself: evidence of transfer alone, which is no verification."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import AttackedModel
from advcal_edge.bundle import Bundle
from advcal_edge.commands import command
from advcal_edge.errors import ConfigError, InputError
from advcal_edge.progress import Progress, silent
from advcal_edge.provenance import environment
from advcal_edge.report.comparison import Comparison
from advcal_edge.report.stakes import nothing_to_lose
from advcal_edge.retrieval import label_rank
from advcal_edge.runtime.backends import OpenOptions
from advcal_edge.runtime.engine import choose_engine, read_engine
from advcal_edge.runtime.model import open_runner
from advcal_edge.threat import ThreatModel
from advcal_edge.verify.bookkeeping import farthest
from advcal_edge.verify.compared import normalised
from advcal_edge.verify.model_set import embed
from advcal_edge.verify.models import path_in_report
from advcal_edge.verify.options import VerifyOptions
from advcal_edge.verify.samples import BLOCK
from advcal_edge.verify.suite import SuiteFile

SCHEMA = "advcal-edge/transfer/1"
WITHSTOOD = "withstood"
"""The best verdict: no drop beyond the margin under inputs that were crafted on other models. It is no `pass`."""
LIMITS = (
    "the engine itself was not attacked: no gradient, no queries, no second look, no checks; an engine that is weak in"
    " other places than the models of the suite withstands all of it"
)
Bools = NDArray[np.bool_]


def judge_suite(
    bundle: Bundle, path: Path, options: VerifyOptions, progress: Progress = silent
) -> tuple[dict[str, Any], str]:
    """Have the engine of `options` label clean samples and a suite; gives the document and its name in the bundle.

    Raises:
        ConfigError: no engine is named.
        InputError: a suite of another bundle or other samples, or one with inputs outside the ball.
        EngineError: an engine that does not fit, or does not run.
        BundleError: a file of the bundle was changed.
    """
    if options.engine is None:
        raise ConfigError(
            "`--suite` judges one engine, and none is named",
            hint=command("verify", bundle.path, "--engine", "FILE", "--suite", path),
        )
    suite = SuiteFile.open(path)
    threat = check_suite(suite, bundle, f"`{path}`")
    engine = open_judge(bundle, choose_engine(bundle, options.engine), options)
    n, clean = len(suite.y), []
    crafted: dict[str, list[NDArray[Any]]] = {name: [] for name in suite.rank}
    probe, start = bundle.samples("probe.npz"), 0
    for part, inputs in zip(probe.blocks(BLOCK, n), suite.blocks(BLOCK), strict=True):
        rows = slice(start, start + len(part.y))
        if not np.array_equal(part.y, suite.y[rows]):
            raise InputError(f"`{path}` has other true labels than the samples of `{bundle.path}`")
        clean.append(label_rank(engine.centers, embed(engine, part.x), part.y))
        for name, x_adv in inputs.items():
            check_ball(x_adv, part.x, threat, f"`{path}`")
            crafted[name].append(label_rank(engine.centers, embed(engine, x_adv), part.y))
        start = rows.stop
        progress("judge", start, n)
    ranks = {name: np.concatenate(found) for name, found in crafted.items()}
    comparisons = compare(suite, np.concatenate(clean), ranks, options.margin)
    verdict, reasons = conclude(comparisons)
    about = dict(suite.about)
    return {
        "schema": SCHEMA,
        "measured": {
            "engine": dict(engine.info),
            "suite": {"sha256": suite.file.sha256, **{key: about[key] for key in ("seed", "budget", "models", "tool")}},
            "threat": about["threat"],
            "hashes": {"bundle": about["bundle"], "data": about["data"], "engine": engine.info["sha256"]},
            "clean": np.concatenate(clean).tolist(),
            "crafted": {name: rank.tolist() for name, rank in ranks.items()},
            "environment": environment(),
        },
        "derived": {
            "verdict": verdict,
            "reasons": reasons,
            "limits": LIMITS,
            "samples": n,
            "comparisons": [comparison.to_json() for comparison in comparisons],
        },
    }, f"reports/{engine.info['sha256'][:8]}/transfer.json"


def open_judge(bundle: Bundle, path: Path, options: VerifyOptions) -> AttackedModel:
    """The engine alone, without a backward pass: a board needs no other runtime than the engine's.

    Raises:
        EngineError, BundleError: as for `verify`.
    """
    file, centers = read_engine(bundle, path), bundle.centers()
    allowed = OpenOptions(allow_plan_code=options.consent.plan_code)
    runner = open_runner(file, bundle.modality.input, allowed, options.interface(), width=centers.dim)
    info = {
        "path": path_in_report(bundle, path),
        "precision": runner.precision,
        "sha256": runner.sha256,
        "bytes": len(file.data),
        "fingerprint": runner.fingerprint,
    }
    model = AttackedModel(runner, centers, None, info=info)
    return model if bundle.comparison is None else normalised(model)


def check_suite(suite: SuiteFile, bundle: Bundle, where: str) -> ThreatModel:
    """Refuse a suite that was crafted for something else; gives its ball.

    Raises:
        InputError: another bundle, other samples, another shape, or a malformed head.
    """
    hint = "craft it again with this bundle: `--craft suite.npz`"
    own = {"bundle": bundle.origin(), "data": bundle.manifest["files"]["probe.npz"]["sha256"]}
    for name, expected in own.items():
        if suite.about.get(name) != expected:
            found = str(suite.about.get(name))[:12]
            raise InputError(f"{where} was crafted for {name} {found}; expected {expected[:12]}", hint=hint)
    kinds = {"threat": dict, "budget": dict, "seed": int, "models": dict, "tool": str}
    wrong = [name for name, kind in kinds.items() if type(suite.about.get(name)) is not kind]
    if wrong:
        raise InputError(f"{where} does not say its {', '.join(wrong)}", hint=hint)
    if len(suite.y) > len(bundle.samples("probe.npz").y):
        raise InputError(f"{where} has {len(suite.y)} samples, more than the bundle", hint=hint)
    shape = bundle.modality.input.shape
    if suite.shapes() != {shape}:
        raise InputError(f"{where} has inputs of another shape than {shape}", hint=hint)
    threat = ThreatModel.from_json(suite.about["threat"])
    if threat.bounds != bundle.threat.bounds:
        raise InputError(f"{where} has bounds {threat.bounds}; expected {bundle.threat.bounds}", hint=hint)
    return threat


def check_ball(x_adv: NDArray[np.float32], x: NDArray[np.float32], threat: ThreatModel, where: str) -> None:
    """Refuse inputs (n, ...) that leave the ball around x (n, ...) or the bounds.

    Raises:
        InputError: at least one does.
    """
    low, high = threat.bounds
    inside = np.isfinite(x_adv).all() and x_adv.min() >= low and x_adv.max() <= high
    if not inside or not (threat.distance(x_adv, x) <= farthest(threat)).all():
        raise InputError(f"{where} has inputs outside {threat} around their samples", hint="craft it again")


def compare(
    suite: SuiteFile, clean: NDArray[np.int64], crafted: Mapping[str, NDArray[np.int64]], margin: float
) -> list[Comparison]:
    """Clean, each set of inputs, and the worst case over all; clean and worst case decide."""
    pairs: dict[str, tuple[Bools, Bools]] = {"clean": (suite.clean == 0, clean == 0)}
    pairs |= {f"crafted on {name}": (suite.rank[name] == 0, rank == 0) for name, rank in crafted.items()}
    worst = [np.logical_and.reduce([pair[side] for pair in pairs.values()]) for side in (0, 1)]
    pairs["worst case"] = (worst[0], worst[1])
    decides = ("clean", "worst case")
    return [Comparison(name, *pair, margin, decides=name in decides) for name, pair in pairs.items()]


def conclude(comparisons: list[Comparison]) -> tuple[str, list[str]]:
    """The verdict and its reasons: a drop that transfers is a fail; without one there is no pass, see `LIMITS`."""
    worst = comparisons[-1]
    failed = [one for one in comparisons if one.decides and one.verdict == "fail"]
    if failed:
        return "fail", [f"{one.name}: {text_of(one)} lies above {100 * one.margin:g}" for one in failed]
    open_ = [f"{one.name}: {text_of(one)} straddles {100 * one.margin:g}" for one in comparisons if is_open(one)]
    doubts: Iterator[str] = nothing_to_lose(worst)
    reasons = [*open_, *doubts]
    return ("inconclusive", reasons) if reasons else (WITHSTOOD, [])


def is_open(one: Comparison) -> bool:
    """Does it decide, and is not decided?"""
    return one.decides and one.verdict == "inconclusive"


def text_of(one: Comparison) -> str:
    """A drop with its interval, in points."""
    return f"drop {100 * one.drop:.1f} points [{100 * one.interval.low:.1f}, {100 * one.interval.high:.1f}]"
