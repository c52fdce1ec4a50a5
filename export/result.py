"""What an export wrote, for the manifest and for the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ExportedGraph:
    """One graph of a bundle; `bytes` includes external weights, `seconds` is the making without the measuring."""

    path: str
    precision: str
    kind: str
    bytes: int
    seconds: float
    fidelity: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain types for the command line."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ExportResult:
    """All graphs of one export, in the order they were made."""

    opset: int
    graphs: tuple[ExportedGraph, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain types for the command line."""
        return {"opset": self.opset, "graphs": [graph.to_json() for graph in self.graphs]}

    def to_manifest(self) -> dict[str, dict[str, Any]]:
        """Plain types for the manifest, by path; size and hash are in its list of files already."""
        return {
            graph.path: {
                "precision": graph.precision,
                "kind": graph.kind,
                "opset": self.opset,
                "fidelity": dict(graph.fidelity),
                "seconds": graph.seconds,
            }
            for graph in self.graphs
        }
