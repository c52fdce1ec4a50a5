"""Which graph of a bundle runs, and whether a passing report in that bundle speaks of exactly its bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from advcal_edge.bundle import REPORT_SCHEMA, Bundle
from advcal_edge.errors import BundleError, EngineError
from advcal_edge.runtime.graph import graph_digest, weights_beside
from advcal_edge.stats import MARGIN
from advcal_edge.threat import ThreatModel

FASTEST_FIRST = ("int8", "fp16", "fp32")


def choose_engine(bundle: Bundle, name: str) -> Path:
    """Path of the graph that `name` stands for: `auto`, a precision, a name in the bundle or a path.

    `auto` is the fastest by convention (int8, fp16, fp32) among those with a passing report, else fp32.

    Raises:
        EngineError: no such graph.
        BundleError: a file of the bundle was changed.
    """
    if name == "auto":
        return choose_verified(bundle) or listed_engine(bundle, graph_name("fp32"))
    if name in FASTEST_FIRST:
        return listed_engine(bundle, graph_name(name))
    if bundle.has(name):
        return listed_engine(bundle, name)
    path = Path(name)
    if not path.is_file():
        raise EngineError(
            f"engine `{name}` is neither `auto`, {', '.join(f'`{p}`' for p in FASTEST_FIRST)} nor a file",
            hint=f"graphs in `{bundle.path}`: {', '.join(graphs(bundle)) or 'none'}",
        )
    if path.resolve().is_relative_to(bundle.path.resolve()):
        inner = path.resolve().relative_to(bundle.path.resolve()).as_posix()
        if bundle.has(inner):
            return listed_engine(bundle, inner)
    return path


def choose_verified(bundle: Bundle) -> Path | None:
    """Path of the fastest graph by convention that has a passing report."""
    for precision in FASTEST_FIRST:
        if bundle.has(graph_name(precision)):
            path = listed_engine(bundle, graph_name(precision))
            if has_passed(bundle, graph_digest(path)):
                return path
    return None


def listed_engine(bundle: Bundle, name: str) -> Path:
    """Path of a graph the manifest lists, its hash and that of its weights checked.

    Raises:
        EngineError: not listed.
        BundleError: missing or changed.
    """
    if not bundle.has(name):
        raise EngineError(
            f"bundle `{bundle.path}` has no graph `{name}`; it has {', '.join(graphs(bundle)) or 'none'}",
            hint=f"export it: `advcal-edge export {bundle.path}`",
        )
    path = bundle.file(name)
    weights = weights_beside(Path(name)).as_posix()
    if bundle.has(weights):
        bundle.file(weights)
    return path


def has_passed(bundle: Bundle, sha256: str) -> bool:
    """Whether the bundle holds a report with verdict `pass` for exactly the engine with this hash.

    Raises:
        BundleError: the report was changed since it was written, or is none that this version reads.
    """
    name = f"reports/{sha256[:8]}/report.json"
    if not bundle.has(name):
        return False
    path = bundle.file(name)
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        schema, verdict, judged = report["schema"], report["verdict"], report["engine"]["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(
            f"`{path}` is no report: {error!r}", hint=f"verify again: `advcal-edge verify {bundle.path}`"
        ) from error
    if schema != REPORT_SCHEMA:
        raise BundleError(
            f"`{path}` has schema `{schema}`; this version reads `{REPORT_SCHEMA}`",
            hint=f"verify again: `advcal-edge verify {bundle.path}`",
        )
    return bool(verdict == "pass" and judged == sha256 and as_strict(report, bundle))


def as_strict(report: Mapping[str, Any], bundle: Bundle) -> bool:
    """Whether a report is about this bundle's centers and threat or a larger one, with the usual margin."""
    threat, centers = bundle.threat, bundle.manifest["files"].get("centers.safetensors", {})
    try:
        tested = ThreatModel.from_json(report["threat"])
        margin, seen = float(report["margin"]), report["hashes"]["centers"]
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"a report in `{bundle.path}` lacks {error}; expected threat, margin and hashes") from error
    same_ball = tested.norm == threat.norm and tested.bounds == threat.bounds and tested.eps >= threat.eps
    return same_ball and margin <= MARGIN and seen == centers.get("sha256")


def graphs(bundle: Bundle) -> list[str]:
    """Names of the forward graphs that the manifest lists."""
    return [n for n in bundle.manifest["files"] if n.startswith("onnx/forward.") and n.endswith(".onnx")]


def graph_name(precision: str) -> str:
    """Where a bundle keeps its forward graph of `precision`."""
    return f"onnx/forward.{precision}.onnx"
