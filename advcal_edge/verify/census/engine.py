"""The census of one engine, held against what explains it, as a report stores it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from advcal_edge.bundle import Bundle
from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends import Backend, find_installed
from advcal_edge.runtime.backends.graph_scan import Scan
from advcal_edge.runtime.engine import listed_digest, read_listed
from advcal_edge.runtime.engine_file import EngineFile, is_plan
from advcal_edge.runtime.weights import GRAPH, IR
from advcal_edge.verify.census.decision import Census, Decision
from advcal_edge.verify.census.explanation import Explanation
from advcal_edge.verify.census.flow import Flow
from advcal_edge.verify.census.layers import foreign_layers
from advcal_edge.verify.census.ranges import Range

NAMED = 16  # nodes that a report names; the others are counted


def take_census(bundle: Bundle, file: EngineFile, backend: Backend, explanation: Explanation) -> dict[str, Any]:
    """The census of an engine that was opened from `file`, as plain types.

    Raises:
        EngineError: a graph that cannot be read, or is larger than the limits.
        BundleError: the graph that a plan was built from was changed.
    """
    if is_plan(file.path):
        return census_of_plan(bundle, explanation, backend)
    if file.path.suffix not in (GRAPH, IR) and find_installed(file.path.suffix):
        return skipped(f"no reader for the graph in a `{file.path.suffix}` file", required=False)
    bounds = None if backend.bridged else bundle.modality.input.bounds
    return census_of_file(file, explanation, backend.taken or backend.outputs[0].name, bounds)


def describe_census(census: Census, explanation: Explanation, read: str, output: str | None) -> dict[str, Any]:
    """Plain types for the report: what was found, what explains it, and the nodes that nothing explains."""
    left = list(census.unexplained(explanation.counts))
    if explanation.source == "nothing":
        left, doubtful = [], left
    else:
        doubtful = [] if explanation.trusted else [item for item in census.decisions if item not in left]
    counts = census.counts
    return {
        "read": read,
        "output": output,
        "against": explanation.source,
        "sha256": explanation.sha256,
        "found": len(census.decisions),
        "paths": counts.paths,
        "gain": counts.gain,
        "unexplained": listed(left),
        "doubtful": listed(doubtful),
    }


def listed(decisions: Sequence[Decision]) -> dict[str, Any]:
    """How many, and the first of them."""
    nodes = [
        {"family": item.family, "zone": item.zone, "operator": item.operator, "node": item.node}
        for item in decisions[:NAMED]
    ]
    return {"count": len(decisions), "nodes": nodes}


def census_of_file(
    file: EngineFile, explanation: Explanation, output: str | None, bounds: Range | None
) -> dict[str, Any]:
    """The census of an ONNX graph or an OpenVINO IR.

    Raises:
        EngineError: it cannot be read, or is larger than the limits.
    """
    if file.path.suffix == IR:
        from advcal_edge.verify.census.ir import read_ir

        return describe_census(Flow(file, bounds).run(read_ir(file)), explanation, "ir", output)
    census = Flow(file, bounds).run(Scan(file.data, file.path).model(), output)
    return describe_census(census, explanation, "graph", output)


def census_of_plan(bundle: Bundle, explanation: Explanation, backend: Backend) -> dict[str, Any]:
    """The census of a plan: that of the graph it was built from, and its layers against the nodes of that graph.

    Without the graph in the bundle, the nodes are those of the graph that explains.

    Raises:
        EngineError: the graph is larger than the limits.
    """
    source = None if backend.metadata is None else graph_with(bundle, backend.metadata.graph_sha256)
    model, census = explanation.model, Census(())
    if source is not None:
        model = Scan(source.data, source.path).model()
        census = Flow(source, bundle.modality.input.bounds).run(model)
    if model is None:
        return skipped("no graph beside the plan whose nodes could explain its layers", required=True)
    try:
        document = backend.layers()
        if document is None:
            return skipped("the product does not tell the layers of a plan", required=False)
        foreign = foreign_layers(document, model, exact=source is not None)
    except EngineError as error:
        return skipped(error.message, required=True)
    found = describe_census(census, explanation, "plan", None)
    left = [*census.unexplained(explanation.counts)] if explanation.source != "nothing" else []
    return {**found, "found": len(census.decisions) + len(foreign), "unexplained": listed([*left, *foreign])}


def graph_with(bundle: Bundle, sha256: str) -> EngineFile | None:
    """The listed graph with this hash."""
    names = (name for name in bundle.manifest["files"] if name.endswith(GRAPH))
    name = next((name for name in names if listed_digest(bundle, name) == sha256), None)
    return None if name is None else read_listed(bundle, name)


def skipped(why: str, *, required: bool) -> dict[str, Any]:
    """A census that could not be taken; if it is `required`, the verdict stays open."""
    return {"skipped": why, "required": required}
