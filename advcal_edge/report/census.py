"""The census of an engine in a report: what decides by value, and whether the exporter's graph does so too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from advcal_edge.report.checks import Check, judge_value, skip
from advcal_edge.report.value import Value

READ = ("graph", "ir", "plan")
AGAINST: Mapping[str, str] = {
    "export": "the graph that `export` made of the torch module",
    "fp32 graph": "the exporter's fp32 graph",
    "unrecorded": "the fp32 graph, of which no export recorded a census",
    "reference graph": "the reference graph",
    "nothing": "no graph: the reference is known in torch only, or the exporter's graph is not there",
}
"""With what the engine was compared."""
MEANING: Mapping[str, str] = {
    "compare": "compares values",
    "logic": "combines such comparisons",
    "select": "selects by values",
    "branch": "branches or loops on values",
    "rank": "ranks values",
    "index": "looks up by values",
    "round": "rounds coarsely",
    "chance": "is random",
    "size": "decides by the batch size",
    "unknown": "is unknown",
    "path": "reads the input on a further path",
    "steep": "amplifies steeply",
}
"""What a node of each family does."""
SPOKEN = 4  # nodes that a sentence names


@dataclass(frozen=True, slots=True)
class Node:
    """A node that decides by value."""

    family: str
    zone: str
    operator: str
    name: str

    def __str__(self) -> str:
        return f"{self.operator} `{self.name}` {MEANING[self.family]}"


@dataclass(frozen=True, slots=True)
class Nodes:
    """How many nodes, and the first of them."""

    count: int = 0
    first: Sequence[Node] = ()

    def __str__(self) -> str:
        named = [str(node) for node in self.first[:SPOKEN]]
        more = self.count - len(named)
        return "; ".join([*named, *([f"{more} more"] if more else [])])


@dataclass(frozen=True, slots=True)
class Census:
    """The census of one engine; by default of one that is no file."""

    skipped: str | None = "the engine is no file whose graph could be read"
    required: bool = False
    against: str = "nothing"
    found: int = 0
    unexplained: Nodes = field(default_factory=Nodes)
    doubtful: Nodes = field(default_factory=Nodes)

    @classmethod
    def read(cls, value: Value) -> Census:
        """Read `measured.engine.census`.

        Raises:
            BundleError: malformed.
        """
        if value.get("skipped") is not None:
            value.only("skipped", "required")
            return cls(value["skipped"].text(), value["required"].truth())
        value.only("read", "output", "against", "sha256", "found", "paths", "gain", "unexplained", "doubtful")
        value["read"].choice(READ)
        value["paths"].integer(), value["gain"].number()
        unexplained, doubtful = read_nodes(value["unexplained"]), read_nodes(value["doubtful"])
        return cls(None, True, value["against"].choice(tuple(AGAINST)), value["found"].integer(), unexplained, doubtful)


def read_census(engine: Value) -> Census:
    """The census of `measured.engine`; one that a file lacks stays required.

    Raises:
        BundleError: malformed.
    """
    census = engine.get("census")
    if census is not None:
        return Census.read(census)
    return Census() if engine.get("path") is None else Census("the report has no census of its engine", required=True)


def read_nodes(value: Value) -> Nodes:
    """Read a number of nodes and the first of them.

    Raises:
        BundleError: malformed, or more nodes than there are said to be.
    """
    value.only("count", "nodes")
    count, first = value["count"].integer(), [read_node(item) for item in value["nodes"].items()]
    if len(first) > count or (count and not first):
        raise value["count"].expected(f"at least {len(first)}, with the names of the first")
    return Nodes(count, first)


def read_node(value: Value) -> Node:
    """Read one node."""
    value.only("family", "zone", "operator", "node")
    family, zone = value["family"].choice(tuple(MEANING)), value["zone"].choice(("input", "inside"))
    return Node(family, zone, value["operator"].text(), value["node"].text())


def graph_explained(census: Census) -> Check:
    """Does the engine decide by value only where the exporter's own graph does?

    Skipped where nothing tells whether a decision is meant; then the nodes are named all the same.
    """
    name = "graph_explained"
    if census.skipped is not None:
        return replace(skip(name, census.skipped), required=census.required)
    against = AGAINST[census.against]
    if census.unexplained.count:
        why = f"nodes that nothing explains in {against}: {census.unexplained}"
        return judge_value(name, float(census.unexplained.count), why)
    if census.doubtful.count:
        return skip(name, f"compared with {against}, so that nothing says whether these are meant: {census.doubtful}")
    why = f"{census.found} nodes decide by value, each as in {against}" if census.found else "no node decides by value"
    return judge_value(name, 0.0, why)


def shown(census: Mapping[str, Any]) -> str:
    """The census in one sentence, for renderings."""
    return graph_explained(Census.read(Value(census, "census"))).why
