"""What precision a plan was really built in: the engine inspector's JSON, read and held to the graph.

TensorRT 10 gives each tensor of a layer one text, `Format/Datatype`; TensorRT 11 splits it into `Format` and `DataType`
(its migration guide). Layers that were fused name the operators of the graph they came from in `Metadata`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advcal_edge.errors import ExportError

WORDS: Sequence[tuple[str, re.Pattern[str]]] = (
    ("bf16", re.compile(r"bf16|bfloat", re.I)),
    ("fp16", re.compile(r"(?<!b)fp16|\bhalf\b", re.I)),
    ("fp8", re.compile(r"fp8|float8|e4m3", re.I)),
    ("int8", re.compile(r"\bint8\b", re.I)),
    ("fp32", re.compile(r"fp32|\bfloat\b|float32", re.I)),
)
NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
REDUCED = frozenset({"fp16", "bf16", "int8", "fp8"})


@dataclass(frozen=True, slots=True)
class EngineLayer:
    """One kernel of a plan: precisions of what it reads, holds and writes, and the graph's operators it does."""

    name: str
    kind: str
    tactic: str
    precisions: frozenset[str]
    nodes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Achieved:
    """What the matrix products of a graph became; `layers` has those that could be found."""

    precision: str
    layers: Mapping[str, str]


def read_layers(document: str) -> tuple[EngineLayer, ...]:
    """Layers of the inspector's engine information, in either dialect.

    Raises:
        ExportError: it is no such document, or was made without detailed profiling verbosity.
    """
    try:
        layers = json.loads(document)["Layers"]
        if any(isinstance(layer, str) for layer in layers):
            raise ExportError(
                "the engine inspector gives names of layers only; expected their details",
                hint="build with detailed profiling verbosity, as `export` does with `--trt`",
            )
        return tuple(read_layer(layer) for layer in layers)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(f"the engine inspector's answer cannot be read: {error!r}") from error


def read_layer(layer: Mapping[str, Any]) -> EngineLayer:
    """One layer."""
    found = frozenset(precision for text in datatypes(layer) if (precision := precision_of(text)) is not None)
    metadata = str(layer.get("Metadata", ""))
    return EngineLayer(
        str(layer["Name"]),
        str(layer.get("LayerType", "")),
        str(layer.get("TacticName", "")),
        found,
        frozenset(NODE.findall(metadata)),
    )


def datatypes(layer: Mapping[str, Any]) -> Iterator[str]:
    """The texts that tell types: of inputs, outputs and weights."""
    for tensor in (*layer.get("Inputs", ()), *layer.get("Outputs", ())):
        yield str(tensor.get("DataType", tensor.get("Format/Datatype", "")))
    weights = layer.get("Weights")
    if isinstance(weights, Mapping):
        yield str(weights.get("Type", ""))


def precision_of(text: str) -> str | None:
    """`fp16` for `Half` or `Row major linear FP16 format`; None for integers, booleans and shapes not settled."""
    return next((name for name, pattern in WORDS if pattern.search(text)), None)


def hold(asked: str, wanted: Mapping[str, str], layers: Sequence[EngineLayer]) -> Achieved:
    """Hold a plan's layers to the types its graph gives the matrix products in `wanted`.

    A product is kept where some kernel that does it reads or writes in its precision; what no kernel names, or names
    without saying types, is left out, so that `layers` may come back empty. Where kernels do say types, at least one
    must show the precision asked for.

    Raises:
        ExportError: a product runs in another precision, or TF32 where fp32 was asked for.
    """
    seen: dict[str, set[str]] = {}
    for layer in layers:
        for node in layer.nodes & wanted.keys():
            seen.setdefault(node, set()).update(layer.precisions)
    told = {node: precisions for node, precisions in seen.items() if precisions}
    off = {node: precisions for node, precisions in told.items() if wanted[node] not in precisions}
    if off:
        node, precisions = next(iter(off.items()))
        raise ExportError(
            f"precision not achieved: {len(off)} of {len(told)} matrix products run in another precision than the graph"
            f" says; `{node}` is {wanted[node]} in the graph and {'+'.join(sorted(precisions))} in the plan",
            hint="build with `--precision fp32`, which has none" if asked != "fp32" else "report it, with the graph",
        )
    if asked == "fp32":
        check_full(layers)
    elif any(layer.precisions for layer in layers) and not shows(asked, wanted, told, layers):
        raise ExportError(
            f"precision not achieved: no kernel of the plan shows {asked}, which {count(wanted, asked)} matrix products"
            " of the graph have",
            hint="look at the layers: `trtexec --loadEngine=PLAN --dumpLayerInfo --profilingVerbosity=detailed`",
        )
    return Achieved(asked, {node: wanted[node] for node in told})


def shows(asked: str, wanted: Mapping[str, str], told: Mapping[str, set[str]], layers: Sequence[EngineLayer]) -> bool:
    """Whether a product has the precision asked for, or, where layers name no operators, any layer."""
    return any(wanted[node] == asked for node in told) if told else any(asked in layer.precisions for layer in layers)


def check_full(layers: Sequence[EngineLayer]) -> None:
    """Refuse reduced precision in a plan that should have none.

    Raises:
        ExportError: a kernel reads or writes it, or is one of TF32.
    """
    for layer in layers:
        reduced = layer.precisions & REDUCED
        if reduced or "tf32" in layer.tactic.lower():
            found = "+".join(sorted(reduced)) or "tf32"
            raise ExportError(f"precision not achieved: fp32 was asked for and the kernel `{layer.name}` is {found}")


def count(wanted: Mapping[str, str], precision: str) -> int:
    """How many products have a precision."""
    return sum(found == precision for found in wanted.values())
