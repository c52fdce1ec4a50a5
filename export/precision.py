"""The policy of all reduced precisions: parts of a graph that stay fp32, in which precisions, and why.

One list for casts (fp16, bf16) and quantisation (int8, fp8). The steps of the precision fallback are made of the names
of further parts, which stay fp32 only on request.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import onnx

from advcal_edge.errors import ExportError
from advcal_edge.export.graph_regions import (
    attention_scores,
    head_nodes,
    input_nodes,
    last_blocks,
    named,
    residual_sums,
    stem_products,
)
from advcal_edge.precision import PRECISIONS

CAST, QUANTISED = ("cast",), ("quantised",)
REDUCED = (*CAST, *QUANTISED)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a graph that stays fp32 in some precisions, and why; `find` returns the names of its nodes."""

    name: str
    what: str
    reason: str
    applies: tuple[str, ...]
    """Families of precisions, or single ones."""
    find: Callable[[onnx.GraphProto], frozenset[str]]


POLICY = (
    Part(
        "input",
        "everything before the first matrix product",
        "eps is 4/255 of the bounds: x must not be rounded",
        CAST,
        input_nodes,
    ),
    Part(
        "first product",
        "the first matrix product",
        "it reads the sensor's values; on bindlite keeping it took a third off the error of int8",
        QUANTISED,
        stem_products,
    ),
    Part(
        "convolution",
        "Conv",
        "ONNX has a bfloat16 Conv since opset 22, and TensorRT 10.3 reads up to 20",
        ("bf16",),
        lambda graph: named(graph, "Conv"),
    ),
    Part(
        "layer norm",
        "LayerNormalization",
        "its sum of squares overflows 65504, which is what breaks fp16 transformers; of 8 bits too few are left",
        CAST,
        lambda graph: named(graph, "LayerNormalization"),
    ),
    Part(
        "softmax",
        "Softmax over the attention scores",
        "a sum of exponentials loses the small ones in 8 or 11 bits",
        CAST,
        lambda graph: named(graph, "Softmax"),
    ),
    Part(
        "residual",
        "sums of two activations",
        "the residual stream grows with depth; rounding it adds up over blocks",
        CAST,
        residual_sums,
    ),
    Part(
        "head",
        "all after the last LayerNormalization",
        "decisions are near ties of its output; it costs next to nothing",
        REDUCED,
        head_nodes,
    ),
)
"""Parts that always stay fp32. Cast graphs reduce all other matrix products and elementwise operators between them;
quantised graphs change only matrix products."""

FURTHER = (
    Part(
        "attention scores",
        "the product of queries and keys, and what lies between it and its Softmax",
        "scores grow with the square of the activations and are the first to overflow; a softmax turns their error"
        " into a factor",
        REDUCED,
        attention_scores,
    ),
    Part(
        "last blocks",
        "matrix products of the last quarter of the transformer blocks, at least of one",
        "no later block averages their error out before the head reads it, and activations are largest there",
        REDUCED,
        last_blocks,
    ),
)
"""Parts that stay fp32 only on request."""


def kept_nodes(graph: onnx.GraphProto, precision: str, further: Collection[str] = ()) -> frozenset[str]:
    """Names of the nodes that stay fp32 in `precision`; `further` names parts of `FURTHER`, and single nodes.

    Raises:
        ExportError: a name that is neither.
    """
    parts = (*POLICY, *(part for part in FURTHER if part.name in further))
    nodes = frozenset(further) - {part.name for part in FURTHER}
    if unknown := nodes - {node.name for node in graph.node}:
        raise ExportError(
            f"no node of the fp32 graph is named `{min(unknown)}`, which is to stay fp32",
            hint="names depend on the versions of torch and onnxscript: use those of the export, or export again",
        )
    names = {precision, PRECISIONS[precision].family}
    return nodes.union(*(part.find(graph) for part in parts if not names.isdisjoint(part.applies)))
