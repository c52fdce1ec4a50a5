"""What explains the decisions of an engine: those of the graph that the exporter wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from advcal_edge.bundle import Bundle
from advcal_edge.precision import PRECISIONS
from advcal_edge.runtime.backends.graph_scan import Model, Scan
from advcal_edge.runtime.engine import listed_digest, read_listed
from advcal_edge.runtime.engine_file import EngineFile
from advcal_edge.verify.census.decision import Counts
from advcal_edge.verify.census.flow import Flow
from advcal_edge.verify.census.ranges import Range

Source = Literal["export", "fp32 graph", "unrecorded", "reference graph", "nothing"]
"""What `export` recorded; the fp32 graph that it recorded; an fp32 graph without a record; a graph that somebody gave
as reference; or nothing, where the reference is known in torch only."""
FP32 = PRECISIONS["fp32"].graph


@dataclass(frozen=True, slots=True)
class Explanation:
    """The census of the exporter's graph, and where it comes from."""

    source: Source
    sha256: str | None = None
    counts: Counts | None = None
    model: Model | None = None
    """The graph itself, if the bundle has it."""

    @property
    def trusted(self) -> bool:
        """Do its decisions explain others? Those of an fp32 graph that no export recorded may be what is wrong."""
        return self.source not in ("unrecorded", "nothing")


def find_explanation(bundle: Bundle) -> Explanation:
    """What explains the engines of a bundle.

    Raises:
        BundleError: the graph was changed.
        EngineError: it is larger than the limits.
    """
    if bundle.comparison is not None:
        name = bundle.comparison["graph"]
        if name is None:
            return Explanation("nothing")
        return of_graph("reference graph", read_listed(bundle, name), None)
    record = read_record(bundle)
    if bundle.has(FP32) and (record is None or record[0] == listed_digest(bundle, FP32)):
        return of_graph(
            "unrecorded" if record is None else "fp32 graph", read_listed(bundle, FP32), bundle.modality.input.bounds
        )
    return Explanation("nothing") if record is None else Explanation("export", *record)


def of_graph(source: Source, file: EngineFile, bounds: Range | None) -> Explanation:
    """The census of a graph of the bundle."""
    model = Scan(file.data, file.path).model()
    counts = Flow(file, bounds).run(model).counts
    return Explanation(source, file.sha256, counts, model)


def write_record(file: EngineFile, bounds: Range) -> dict[str, Any]:
    """The entry of the manifest for the fp32 graph that an export made of its torch module.

    Raises:
        EngineError: it is larger than the limits.
    """
    counts = Flow(file, bounds).run(Scan(file.data, file.path).model()).counts
    return {"graph": file.sha256, **counts.to_json()}


def read_record(bundle: Bundle) -> tuple[str, Counts] | None:
    """Hash and census of the fp32 graph that the last export made of the torch module; None in older bundles."""
    record: Mapping[str, Any] | None = bundle.section("graphs").get("census") if "graphs" in bundle.manifest else None
    if record is None:
        return None
    return record["graph"], Counts(dict(record["decisions"]), int(record["paths"]), float(record["gain"]))
