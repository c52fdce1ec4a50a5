"""Matrix products ranked by what each costs in a reduced precision, culprit first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from advcal_edge.report.value import Value

SHOWN = 10
"""Nodes in a table, besides those that are kept in fp32."""


@dataclass(frozen=True, slots=True)
class RankedNode:
    """One matrix product: what disappears when it alone is kept in fp32, and what appears when it alone is reduced."""

    node: str
    kind: str
    """MatMul, Gemm or Conv."""
    scope: str | None
    """The module of the encoder that it belongs to, if the graph tells."""
    removed: int | None
    """Flips of the failing engine that disappear when it alone stays fp32; None if that was not measured."""
    risk: float
    """Drift over margin when it alone is reduced, summed over the inputs, at most 1 each."""

    @property
    def score(self) -> float:
        """Its place in the ranking: inputs that it costs, measured both ways."""
        return (self.removed or 0) + self.risk

    @classmethod
    def read(cls, value: Value, flips: int) -> RankedNode:
        """Read one entry of a ranking."""
        value.only("node", "kind", "scope", "removed", "risk")
        removed = None if value["removed"].value is None else value["removed"].integer()
        if removed is not None and removed > flips:
            raise value["removed"].expected(f"at most {flips}, the flips of the engine")
        scope = None if value["scope"].value is None else value["scope"].text()
        return cls(value["node"].text(), value["kind"].text(), scope, removed, value["risk"].number())


@dataclass(frozen=True, slots=True)
class NodeRanking:
    """All matrix products in reduced precision, culprit first, and the work behind the order."""

    inputs: int
    """Inputs on which engine and reference were compared."""
    flips: int
    """Those of them that fool either the failing engine or the reference, and not the other."""
    builds: int
    """Graphs that were built for the ranking."""
    nodes: tuple[RankedNode, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the nodes in order."""
        return tuple(node.node for node in self.nodes)

    def share(self, node: RankedNode) -> float | None:
        """Share of the flips that disappear when it alone stays fp32; None if not measured, or without a flip."""
        return None if node.removed is None or not self.flips else node.removed / self.flips

    def shown(self, kept: Collection[str]) -> dict[str, Any]:
        """The first nodes and all that are `kept` in fp32, each with its place, for tables."""
        rows = [
            {"place": place, **asdict(node), "share": self.share(node), "kept": node.node in kept}
            for place, node in enumerate(self.nodes, 1)
            if place <= SHOWN or node.node in kept
        ]
        return {
            "inputs": self.inputs,
            "flips": self.flips,
            "builds": self.builds,
            "ranked": len(self.nodes),
            "rows": rows,
        }

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {**asdict(self), "nodes": [asdict(node) for node in self.nodes]}

    @classmethod
    def read(cls, value: Value) -> NodeRanking:
        """Read what `to_json` wrote, from an untrusted report.

        Raises:
            BundleError: malformed; the message names the path.
        """
        value.only("inputs", "flips", "builds", "nodes")
        inputs, flips = value["inputs"].integer(), value["flips"].integer()
        if flips > inputs:
            raise value["flips"].expected(f"at most {inputs}, the inputs")
        nodes = tuple(RankedNode.read(item, flips) for item in value["nodes"].items())
        if len({node.node for node in nodes}) < len(nodes):
            raise value["nodes"].expected("each node once")
        return cls(inputs, flips, value["builds"].integer(), nodes)


def read_kept(value: Value, ranking: NodeRanking) -> Sequence[str]:
    """Read the names of the nodes that an engine keeps in fp32, which its ranking must list."""
    kept = value.texts()
    if len(set(kept)) < len(kept) or not set(kept) <= set(ranking.names):
        raise value.expected("nodes of the ranking, each once")
    return kept
