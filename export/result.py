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
    step: str | None = None
    """The step of the ladder that it was built at; None where none was climbed."""

    def to_json(self) -> dict[str, Any]:
        """Plain types for the command line."""
        return {name: value for name, value in asdict(self).items() if name != "step" or value is not None}

    def to_manifest(self, opset: int) -> dict[str, Any]:
        """Plain types for the manifest; size and hash are in its list of files already."""
        told = {name: value for name, value in self.to_json().items() if name not in ("path", "bytes")}
        return {**told, "opset": opset}


@dataclass(frozen=True, slots=True)
class ExportResult:
    """All graphs of one export, in the order they were made."""

    opset: int
    graphs: tuple[ExportedGraph, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain types for the command line."""
        return {"opset": self.opset, "graphs": [graph.to_json() for graph in self.graphs]}

    def to_manifest(self) -> dict[str, dict[str, Any]]:
        """Plain types for the manifest, by path."""
        return {graph.path: graph.to_manifest(self.opset) for graph in self.graphs}
