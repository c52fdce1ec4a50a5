"""Rebuild an engine from the bundle, as another machine or a later build would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from advcal_edge.bundle import Bundle
from advcal_edge.consent import NOTHING, Consent
from advcal_edge.errors import ConfigError


def rebuild(
    bundle: Bundle, engine: Mapping[str, Any], count: int, workshop: Path, consent: Consent = NOTHING
) -> Iterator[Path]:
    """Build one engine again `count` times, each from scratch, into `workshop`; `engine` is its entry in a report.

    Raises:
        ConfigError: an engine that is not the bundle's own.
        DependencyError: torch, onnx or onnxscript is missing; for a plan, the product that built it.
        ExportError: it cannot be built.
    """
    if not engine["listed"]:
        raise ConfigError(
            f"`--rebuilds` and `--engine {engine['path']}`: only graphs and plans of the bundle can be built again",
            hint="leave one of the two out",
        )
    if "plan" in engine:
        return rebuild_plans(bundle, engine, count, workshop)
    return rebuild_graphs(bundle, engine, count, workshop, consent)


def rebuild_plans(bundle: Bundle, engine: Mapping[str, Any], count: int, workshop: Path) -> Iterator[Path]:
    """Rebuild a plan from the same graph, without timings of earlier builds."""
    from advcal_edge.export.tensorrt.plans import rebuild_plan
    from advcal_edge.runtime.backends.trt_api import find_product
    from advcal_edge.runtime.engine import plan_metadata

    metadata = plan_metadata(bundle)[engine["path"]]
    product = find_product(metadata.product)
    for number in range(count):
        folder = workshop / f"plan-{number}"
        folder.mkdir()
        yield rebuild_plan(bundle, product, metadata, folder)


def rebuild_graphs(
    bundle: Bundle, engine: Mapping[str, Any], count: int, workshop: Path, consent: Consent
) -> Iterator[Path]:
    """Export a graph again from the module."""
    from advcal_edge.calibrate.deploy import module_from_bundle
    from advcal_edge.export.fallback import find_step
    from advcal_edge.export.graph_maker import GraphMaker
    from advcal_edge.export.graphs import check_dependencies

    check_dependencies()
    precision = engine["precision"]
    graphs = bundle.section("graphs")
    opset = int(graphs.get("opset", 20))
    step = find_step(engine.get("step"), graphs.get("files", {}).get(engine["path"], {}).get("kept", ()))
    for number in range(count):
        folder = workshop / f"{precision}-{number}"
        folder.mkdir()
        maker = GraphMaker(module_from_bundle(bundle, consent), bundle, folder, opset)
        maker.make("forward", precision, step)
        yield maker.path("forward", precision)
