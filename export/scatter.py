"""Nodes that add into scattered places: ONNX Runtime runs them, TensorRT does not read them.

A gradient has them where values were picked by indices that differ from sample to sample, or by too many to translate
(`backward/indexing.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx

SCATTERS = frozenset({"ScatterElements", "ScatterND"})


def scatter_nodes(path: Path) -> tuple[str, ...]:
    """Names of the nodes of an ONNX file that scatter with a reduction; those that only overwrite are not meant."""
    return tuple(node.name for node in reducing(onnx.load(str(path), load_external_data=False).graph))


def reducing(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of the graphs inside it that scatter with a reduction."""
    for node in graph.node:
        if node.op_type in SCATTERS and any(
            entry.name == "reduction" and entry.s != b"none" for entry in node.attribute
        ):
            yield node
        for entry in node.attribute:
            if entry.type == onnx.AttributeProto.GRAPH:
                yield from reducing(entry.g)
