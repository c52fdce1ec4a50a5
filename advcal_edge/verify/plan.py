"""Choose the models of a verification: the reference, the engines with their rebuilds, and further sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from advcal_edge.attacks import AttackedModel
from advcal_edge.bundle import Bundle
from advcal_edge.errors import ConfigError, DependencyError
from advcal_edge.precision import PRECISIONS
from advcal_edge.registry import choose
from advcal_edge.report.checks import CHECKED
from advcal_edge.runtime.engine import listed_path
from advcal_edge.runtime.engine_file import graph_digest
from advcal_edge.runtime.model import Backward
from advcal_edge.runtime.tested import TORCH
from advcal_edge.verify.backward import backward_for_engines, no_graph
from advcal_edge.verify.census.explanation import Explanation, find_explanation
from advcal_edge.verify.engine_checks import detect_randomness
from advcal_edge.verify.model_set import ModelSet
from advcal_edge.verify.models import (
    engine_paths,
    open_engine,
    open_frozen_encoder,
    open_reference,
)
from advcal_edge.verify.options import VerifyOptions, words
from advcal_edge.verify.recorder import record
from advcal_edge.verify.samples import HeldOut
from advcal_edge.verify.unit import UnitRunner

TRUNK = "trunk"
SECOND_OPINION = 16  # samples that polygraphy also runs
REBUILD = "advcal_edge.export.rebuild"  # needs torch: imported by name, when an engine is to be rebuilt


def choose_models(bundle: Bundle, options: VerifyOptions, samples: HeldOut, workshop: Path) -> ModelSet:
    """Reference, engines with their rebuilds, and sources.

    Raises:
        ConfigError: unknown sources, or engines that cannot be rebuilt.
    """
    interface, paths = options.interface(), engine_paths(bundle, options.engine)
    reference = open_reference(bundle, options.reference, options.consent, options.device, options.gradient)
    backward, explanation = backward_for_engines(bundle, options.gradient, reference), find_explanation(bundle)
    engines = {}
    for path in paths:
        model = open_engine(
            bundle,
            path,
            backward,
            options.consent,
            interface,
            backward_plans=options.gradient != TORCH,
            explanation=explanation,
        )
        if model.gradient is None and options.gradient == "graph":
            raise no_graph(bundle)
        info = dict(model.info)
        if options.cross_check:
            info["cross_check"] = second_opinion(bundle, model.runner)
        engines[engine_name(info)] = watched(replace(model, info=info), samples)
    sources = choose_sources(bundle, options, str(reference.info["kind"]), engines, backward)
    builds = {
        name: list(rebuild_engine(bundle, options, name, model, backward, explanation, samples, engines, workshop))
        for name, model in (list(engines.items()) if options.rebuilds else ())
    }
    return ModelSet(reference, engines, sources, builds)


def choose_sources(
    bundle: Bundle,
    options: VerifyOptions,
    reference: str,
    engines: Mapping[str, AttackedModel],
    backward: Backward | None,
) -> dict[str, AttackedModel]:
    """Other models of the bundle whose adversarial examples are tried; an engine under test keeps its name."""
    sources = {}
    for name in source_names(bundle, options.sources, reference):
        if name in engines and engines[name].info["listed"]:
            sources[name] = engines[name]
        elif name == TRUNK:
            sources[name] = open_frozen_encoder(bundle, options.consent, options.device)
        else:
            path = listed_path(bundle, PRECISIONS[name].graph)
            sources[name] = open_engine(bundle, path, backward, options.consent)
    return sources


def rebuild_engine(
    bundle: Bundle,
    options: VerifyOptions,
    name: str,
    model: AttackedModel,
    backward: Backward | None,
    explanation: Explanation,
    samples: HeldOut,
    engines: dict[str, AttackedModel],
    workshop: Path,
) -> Iterator[str]:
    """Build an engine again, add each build with other bytes to `engines`, and return the name of each build there.

    A build with the same bytes needs no attacks: it gets the name of the engine with those bytes.
    """
    names = {model.info["sha256"]: name}
    for path in import_module(REBUILD).rebuild(bundle, model.info, options.rebuilds, workshop, options.consent):
        digest = graph_digest(path)
        if digest not in names:
            names[digest] = f"{name} build {len(names) + 1}"
            allowed = replace(options.consent, built=True)
            build = open_engine(
                bundle, path, backward, allowed, backward_plans=options.gradient != TORCH, explanation=explanation
            )
            info = {**build.info, "path": model.info["path"]}
            engines[names[digest]] = watched(replace(build, info=info), samples)
        yield names[digest]


def watched(engine: AttackedModel, samples: HeldOut) -> AttackedModel:
    """An engine whose errors are recorded, with the number of its answers that an attack averages.

    Raises:
        EngineError: it does not run at all.
    """
    recorded = record(engine, samples.head(CHECKED).x)
    return replace(recorded, calls=detect_randomness(recorded, samples))


def second_opinion(bundle: Bundle, runner: Any) -> dict[str, Any]:
    """Compare our outputs with polygraphy's on the same engine and the first samples of the probe.

    Raises:
        DependencyError: polygraphy is not installed.
        EngineError: it cannot run the engine, or disagrees.
    """
    from advcal_edge.runtime.cross_check import cross_check

    return cross_check(
        runner.raw if isinstance(runner, UnitRunner) else runner, bundle.probe(SECOND_OPINION).x
    ).to_json()


def engine_name(info: Mapping[str, Any]) -> str:
    """A unique name: precision of a graph of the bundle, precision and hash of a plan, else the file's name."""
    if info["listed"] and "plan" in info:
        return f"plan {info['precision']} {info['sha256'][:8]}"
    return str(info["precision"]) if info["listed"] else f"file {info['path']}"


def source_names(bundle: Bundle, asked: str, reference: str) -> list[str]:
    """Names of the sources requested: all available, those named, or none.

    Raises:
        ConfigError: a name that the bundle does not have.
        DependencyError: the trunk was requested and torch is not installed.
    """
    graphs = [name for name, p in PRECISIONS.items() if p.on_cpu and bundle.has(p.graph)]
    adapted = bundle.section("adapter").get("kind") != "identity" if "adapter" in bundle.manifest else False
    there = ([TRUNK] if adapted and reference == "torch" else []) + graphs
    if asked in ("all", "none"):
        return there if asked == "all" else []
    chosen = words(asked)
    if chosen and bundle.comparison is not None:
        raise ConfigError(
            f"`--sources {asked}`: `{bundle.path}` has no model but its reference", hint="leave out `--sources`"
        )
    for name in chosen:
        if name == TRUNK and adapted and reference != "torch":
            raise DependencyError("torch", extra="calibrate", purpose="`--sources trunk`")
        choose("source", name, dict.fromkeys(there))
    return [name for name in there if name in chosen]
