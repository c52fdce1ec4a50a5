"""The layers of a TensorRT plan, as its inspector tells them, against the nodes of the graph it was built from."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends.graph_check import every
from advcal_edge.runtime.backends.graph_scan import Model, Node
from advcal_edge.verify.census.decision import Decision, Family, shortened
from advcal_edge.verify.census.operators import DECIDES, INDEXES

NODE = re.compile(r"\[ONNX Layer: ([^\]\x1e\x1f]+)\]")
REPEATED = re.compile(r"_[0-9]+$")
OF_OUTPUT = "node_of_"
"""How TensorRT's parser begins the name of a node that has none; the name of its first output follows."""
WORDS: Mapping[Family, re.Pattern[str]] = {
    "select": re.compile(r"Select|SELECT|Where|WHERE"),
    "compare": re.compile(r"Greater|GREATER|Less|LESS|Equal|EQUAL|IsInf|IsNa[Nn]|ISINF|ISNAN"),
    "branch": re.compile(r"Loop|LOOP|Recurrence|RECURRENCE|TripLimit|TRIP_LIMIT|Conditional|CONDITION"),
    "rank": re.compile(r"TopK|TOPK|ArgM(ax|in)|NonZero|NON_?ZERO|NMS|NonMax|Unique"),
    "index": re.compile(r"Gather|GATHER|Scatter|SCATTER|OneHot|ONE_?HOT"),
    "round": re.compile(r"Round|ROUND|Floor|FLOOR|Ceil|CEIL|Sign(?![a-z])|\bSIGN\b|Trunc|TRUNC"),
    "chance": re.compile(r"Random|RANDOM"),
}
"""Words by which a layer says that it decides; kernels that were fused name the nodes that they compute instead."""
TELLING = ("LayerType", "ParameterType", "ParameterSubType", "Operation", "ElementWiseOperation")


def foreign_layers(document: str, graph: Model, *, exact: bool) -> list[Decision]:
    """Layers that decide and that the nodes of `graph` do not explain.

    A family of decisions is explained as often as the graph has nodes of it, whether or not they depend on values.
    With `exact` the plan was built from this graph, so that every node that a layer names must be there.

    Raises:
        EngineError: the inspector does not tell its layers in detail.
    """
    nodes = [*every(graph.graph.nodes), *(node for function in graph.functions for node in every(function.nodes))]
    left = Counter(family for node in nodes if (family := family_of(node)) is not None)
    names = {node.name or f"{OF_OUTPUT}{node.outputs[0] if node.outputs else ''}" for node in nodes}
    tensors = {tensor.name for tensor in graph.graph.initializers} | {name for node in nodes for name in node.outputs}
    known = None if graph.functions or not exact else names | tensors
    found = []
    for layer in read_layers(document):
        for family in told(layer, names):
            if left[family] > 0:
                left[family] -= 1
            else:
                found.append(named(family, layer, str(layer["Name"])))
        if known is not None:
            strange = [name for name in nodes_of(layer) if name not in known and REPEATED.sub("", name) not in known]
            found += [named("unknown", layer, name) for name in strange]
    return found


def read_layers(document: str) -> list[Mapping[str, Any]]:
    """The layers of the inspector's JSON.

    Raises:
        EngineError: it is none, or has names of layers only.
    """
    try:
        layers = json.loads(document)["Layers"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise EngineError("the engine inspector's answer cannot be read") from error
    if not isinstance(layers, list) or not all(isinstance(layer, dict) and "Name" in layer for layer in layers):
        raise EngineError(
            "the plan tells no more than the names of its layers",
            hint="build it with detailed profiling verbosity, as `export` does with `--trt`",
        )
    return layers


def told(layer: Mapping[str, Any], names: set[str]) -> Iterator[Family]:
    """The families of decisions that a layer tells, by its type and by its name without the names of nodes."""
    own = str(layer["Name"])
    for name in sorted({*nodes_of(layer), *(name for name in names if name and name in own)}, key=len, reverse=True):
        own = re.sub(rf"(?<![\w/.]){re.escape(name)}(?![\w/.])", " ", own)
    text = " ".join([own, *(str(layer[key]) for key in TELLING if key in layer)])
    return (family for family, words in WORDS.items() if words.search(text))


def nodes_of(layer: Mapping[str, Any]) -> Sequence[str]:
    """Names of the graph's nodes that a layer computes."""
    return NODE.findall(str(layer.get("Metadata", "")))


def family_of(node: Node) -> Family | None:
    """The family of decisions that a layer may show which computes this node, whatever the node depends on."""
    if node.op == "Where":
        return "select"
    if node.op in INDEXES or node.op.startswith("Scatter"):
        return "index"
    return DECIDES.get(node.op)


def named(family: Family, layer: Mapping[str, Any], name: str) -> Decision:
    """A decision of a layer; nobody knows whether products with weights come before it."""
    return Decision(family, "inside", shortened(str(layer.get("LayerType", "") or "layer")), shortened(name))
