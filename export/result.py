"""Result of an export, for the manifest and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from advcal_edge.errors import ExportError
from advcal_edge.report.table import one_line

if TYPE_CHECKING:
    from advcal_edge.export.parity import Search
    from advcal_edge.export.tensorrt.plans import BuiltPlan


@dataclass(frozen=True, slots=True)
class ExportedGraph:
    """One graph of a bundle; `bytes` includes external weights, `seconds` excludes measuring."""

    path: str
    precision: str
    kind: str
    bytes: int
    seconds: float
    fidelity: Mapping[str, Any]
    step: str | None = None
    """The step of the precision fallback at which it was built; None without a fallback."""
    kept: tuple[str, ...] = ()
    """Names of single matrix products that stay fp32 at this step, from which it can be built again."""
    scatters: tuple[str, ...] = ()
    """Names of the nodes that add into scattered places: it runs on ONNX Runtime, and no plan is built from it."""

    @property
    def closeness(self) -> str:
        """Deviation from the torch module, in the usual measures."""
        fidelity = self.fidelity
        if "cosine_min" in fidelity:
            emulated = ", emulated" if fidelity.get("emulated") else ""
            return f"cosine >= {fidelity['cosine_min']:.6f}, relative L2 {fidelity['relative_l2']:.1e}{emulated}"
        close = f"relative L2 {fidelity['relative_l2']:.1e}, signs agree {100 * fidelity['sign_agreement']:.2f} %"
        return f"{close}; scatters, so ONNX Runtime only" if self.scatters else close

    def to_json(self) -> dict[str, Any]:
        """Plain types for the command line."""
        fields = {**asdict(self), "kept": list(self.kept), "scatters": list(self.scatters)}
        return {name: value for name, value in fields.items() if name not in ("step", "kept", "scatters") or value}

    def to_manifest(self, opset: int) -> dict[str, Any]:
        """Plain types for the manifest; size and hash are already in its list of files."""
        fields = {name: value for name, value in self.to_json().items() if name not in ("path", "bytes")}
        return {**fields, "opset": opset}


@dataclass(frozen=True, slots=True)
class Missing:
    """A graph or plan that was requested and could not be made; `name` is that of the graph in the bundle."""

    name: str
    kind: str
    error: ExportError
    plan: bool = False
    """Is it the plan that is missing, although there is a graph?"""

    @property
    def reason(self) -> str:
        """Why, in one line."""
        return one_line(self.error.message)

    def to_json(self) -> dict[str, Any]:
        """Plain types for the command line."""
        what = "plan" if self.plan else "graph"
        return {what: self.name, "kind": self.kind, "reason": self.reason, "hint": self.error.hint}


@dataclass(frozen=True, slots=True)
class ExportResult:
    """All graphs and plans of one export, in order, searches for parity, and what could not be made."""

    opset: int
    graphs: tuple[ExportedGraph, ...]
    plans: tuple[BuiltPlan, ...] = ()
    searches: tuple[Search, ...] = ()
    missing: tuple[Missing, ...] = ()

    @property
    def complete(self) -> bool:
        """Was everything that was requested made?"""
        return not self.missing

    def check(self) -> ExportResult:
        """This result, unless nothing at all was made.

        Raises:
            ExportError: the reason, that of a forward graph if there is one.
        """
        if self.missing and not self.graphs and not self.plans:
            raise min(self.missing, key=lambda item: item.kind != "forward").error
        return self

    @property
    def reached(self) -> bool:
        """Did every search end with an engine that passed?"""
        return all(search.reached is not None for search in self.searches)

    def to_json(self) -> dict[str, Any]:
        """Plain types for the command line: `plans` if any were built, `searches` if parity was searched."""
        missing = {"missing": [item.to_json() for item in self.missing]}
        if self.plans:
            return {"plans": [plan.to_json() for plan in self.plans]} | missing
        graphs = {"opset": self.opset, "graphs": [graph.to_json() for graph in self.graphs]} | missing
        return graphs | ({"searches": [search.to_json() for search in self.searches]} if self.searches else {})

    def to_manifest(self) -> dict[str, dict[str, Any]]:
        """Plain types for the manifest, by path."""
        return {graph.path: graph.to_manifest(self.opset) for graph in self.graphs}
