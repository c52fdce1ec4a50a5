"""Which nodes of a graph its output depends on; what leads to other outputs, such as a list of boxes, is left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from advcal_edge.runtime.backends.graph_check import every
from advcal_edge.runtime.backends.graph_scan import Body, Node


def reaching(graph: Body, name: str | None) -> Sequence[Node]:
    """The nodes that the tensor `name` depends on, in their order; all nodes if no node makes it."""
    makers = {output: place for place, node in enumerate(graph.nodes) for output in node.outputs if output}
    if name not in makers:
        return graph.nodes
    needed: set[int] = set()
    waiting = [makers[name]]
    while waiting:
        place = waiting.pop()
        if place in needed:
            continue
        needed.add(place)
        waiting += [makers[read] for read in names_read([graph.nodes[place]]) if read in makers]
    return [node for place, node in enumerate(graph.nodes) if place in needed]


def names_read(nodes: Iterable[Node]) -> Iterator[str]:
    """Names of all tensors that nodes and their inner graphs read."""
    for node in every(list(nodes)):
        yield from node.inputs
