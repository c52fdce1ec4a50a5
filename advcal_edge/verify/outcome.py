"""From a run that is complete to reports in its bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from advcal_edge.attacks import AttackedModel
from advcal_edge.bundle import Bundle
from advcal_edge.errors import BundleError, ConfigError, DependencyError
from advcal_edge.expectations import Expectations, selftest_beside, selftest_name
from advcal_edge.precision import BACKWARD_GRAPH
from advcal_edge.provenance import environment
from advcal_edge.report.consistency import contradictions
from advcal_edge.report.measured import Measured
from advcal_edge.report.raised import NOTHING_RAISED
from advcal_edge.report.results import Drift
from advcal_edge.report.value import Value, shown
from advcal_edge.runtime.engine import listed_digest
from advcal_edge.runtime.tested import TORCH, module_digest
from advcal_edge.sequential import LOOK
from advcal_edge.storage import canonical, sha256_bytes
from advcal_edge.threat import ThreatModel
from advcal_edge.verify.answers import joined
from advcal_edge.verify.engine_checks import EngineChecks, read_curve
from advcal_edge.verify.history import report_folder, with_history
from advcal_edge.verify.model_set import ENGINE, REFERENCE
from advcal_edge.verify.report import Report, to_bytes
from advcal_edge.verify.results import (
    check_rounding,
    gallery,
    gather_attacks,
    gather_clean,
    measure_neighbours,
    measure_retrieval,
)
from advcal_edge.verify.state import State
from advcal_edge.verify.verification import Verification


@dataclass(frozen=True, slots=True)
class Written:
    """A report in its bundle: the document, the files, and the package that is missing if there is no HTML page."""

    document: Mapping[str, Any]
    files: tuple[Path, ...]
    lacking: DependencyError | None


def check_consistent(report: Report, state: State) -> None:
    """Refuse a report that contradicts itself, as one does that was made of notes written by hand.

    Raises:
        BundleError: the first contradiction.
    """
    document = Value(report.measured, "measured")
    for value, expected in contradictions(document, Measured.read(document)):
        raise BundleError(
            f"the results in `{state.folder}` contradict each other: `{value.path}` is {shown(value.value)}; expected"
            f" {expected}",
            hint=f"remove `{state.folder}` and run again: something else wrote into it",
        )


def make_reports(bundle: Bundle, run: Verification) -> list[Report]:
    """One report per engine, with the results of its rebuilds."""
    about = context(bundle)
    made = {
        name: with_history(bundle, collect(run, name, context=about, hashes=hashes(bundle, model.info)))
        for name, model in run.models.engines.items()
    }
    builds = run.models.builds
    if not builds:
        return list(made.values())
    return [made[name].with_rebuilds([made[other] for other in others]) for name, others in builds.items()]


def write_report(bundle: Bundle, report: Report, selftest: Expectations | None = None) -> Written:
    """Write report.json, report.html where Jinja is installed, and what a self-test repeats, into the bundle.

    A report that is no pass removes the self-test of an earlier one on the same engine.
    """
    from advcal_edge.report.html import render_html

    document = report.to_json()
    folder = report_folder(bundle, str(report.engine["sha256"]), ThreatModel.from_json(report.measured["threat"]))
    files = {f"{folder}/report.json": to_bytes(document)}
    lacking = None
    try:
        files[f"{folder}/report.html"] = render_html(document).encode()
    except DependencyError as error:
        lacking = error
    stored = selftest_name(str(report.engine["sha256"]))
    bundle.add(files if selftest is None else {**files, stored: selftest.to_bytes()})
    if selftest is None and report.verdict != "pass" and selftest_beside(f"{folder}/report.json") == stored:
        bundle.remove([stored])
    return Written(document, tuple(bundle.path / name for name in files), lacking)


def collect(run: Verification, engine: str, *, context: Mapping[str, Any], hashes: Mapping[str, str | None]) -> Report:
    """Collect the blocks of a run into the measurements of one engine.

    Raises:
        ConfigError: the run is not complete.
        BundleError: the state is damaged.
    """
    if run.missing():
        raise ConfigError(f"the run is not complete: {'; '.join(run.missing())} missing")
    model, centers = run.models.engines[engine], run.models.reference.centers
    blocks = [block.without_arrays() for block in run.blocks()]  # inputs are read again when needed
    others = run.models.others(engine)
    own = EngineChecks.from_json(run.state.note(engine) or {})
    reference = read_curve(Value(run.state.note(REFERENCE) or {}, "reference"))
    checks = [*own.checks, check_rounding(blocks, engine, run.modality)]
    first = repr(run.budget.first(run.samples.threat.norm))
    retrieval = measure_retrieval(run.blocks, engine, run.samples.partner, first)
    drift = Drift(*np.concatenate([block.drift[engine] for block in blocks], axis=1))
    distances = [block.anchored for block in blocks if block.anchored is not None]
    about = environment()
    measured: dict[str, Any] = {
        "engine": dict(model.info),
        "reference": dict(run.models.reference.info),
        "sources": [source(name, run.models.sources[name]) for name in others],
        "threat": run.samples.threat.to_json(),
        "budget": run.budget.to_json(),
        "seed": run.samples.seed,
        "margin": run.margin,
        "expectation": model.calls,  # calls averaged per query; 1 for a deterministic engine
        "labels": list(centers.labels),
        "truth": np.concatenate([block.y for block in blocks]).tolist(),
        "clean": {name: rank.tolist() for name, rank in gather_clean(blocks, engine, others).items()},
        "attacks": [item.to_json() for item in gather_attacks(blocks, engine, others)],
        "drift": drift.to_json(),
        "neighbours": measure_neighbours(run.blocks, engine).tolist(),
        "anchor": np.concatenate(distances).tolist() if len(distances) == len(blocks) else None,
        "calibration": calibration(run),
        "checks": {check.name: dict(check.raw) for check in checks},
        "hashes": {**hashes, "environment": sha256_bytes(canonical(about))},
        "gallery": gallery(model, run.modality, run.blocks(), engine),
        "context": dict(context),
        "environment": dict(about),
        "seconds": round(sum(block.seconds for block in blocks) + own.seconds, 2),
    }
    if run.sequential:
        measured["sequential"] = {"every": LOOK, "at_most": len(run.samples)}
    if (answers := joined(blocks, engine, run.alpha)) is not None:
        measured["answers"] = answers
    if run.class_margin is not None:
        measured["per_class_margin"] = run.class_margin
    if reference is not None and own.curve is not None:
        measured["curve"] = {REFERENCE: reference.to_json(), ENGINE: own.curve.to_json()}
    if retrieval is not None:
        measured["retrieval"] = retrieval.to_json()
    raised = sum((block.raised.get(engine, NOTHING_RAISED) for block in blocks), own.raised)
    if raised.calls:
        measured["raised"] = raised.to_json()
    return Report(measured)


def calibration(run: Verification) -> dict[str, Any] | None:
    """What the bundle states of the calibrated model, and what the same attack found here; None without figures."""
    if run.calibration is None:
        return None
    return {**run.calibration, "attacked": (run.state.note(REFERENCE) or {}).get("attacked")}


def source(name: str, model: AttackedModel) -> dict[str, Any]:
    """The report's entry for a model whose inputs were tried."""
    return {"name": name, "kind": model.info.get("kind", "engine"), "fingerprint": model.runner.fingerprint}


def context(bundle: Bundle) -> dict[str, Any]:
    """Where the engine comes from, according to the manifest."""
    manifest = bundle.manifest
    names = ("tool", "encoder", "modality", "threat", "adapter", "data")
    kept = {name: manifest.get(name) for name in names}
    if bundle.comparison is not None:
        kept["comparison"] = bundle.comparison
    listed = {
        name: entry["sha256"]
        for name, entry in manifest["files"].items()
        if not name.startswith(("reports/", "engines/"))
    }
    return {**kept, "hashes": listed}


def hashes(bundle: Bundle, engine: Mapping[str, Any]) -> dict[str, str | None]:
    """Hashes of the files that were tested."""
    files = bundle.manifest["files"]
    plan = engine.get("plan", {})
    gradient = plan.get("backward_sha256")
    if engine.get("gradient_from") == TORCH:
        gradient = module_digest(bundle)
    elif gradient is None and bundle.has(BACKWARD_GRAPH):
        gradient = listed_digest(bundle, BACKWARD_GRAPH)
    return {
        "engine": engine["sha256"],
        "graph": plan.get("graph_sha256", engine["sha256"]),
        "gradient": gradient,
        "bundle": bundle.origin(),
        "data": files["probe.npz"]["sha256"],
        "centers": files["centers.safetensors"]["sha256"],
    }
