"""Nodes that add into scattered places: ONNX Runtime runs them, TensorRT does not read them.

A gradient has them where values were picked by indices that differ from sample to sample, or by too many to translate
(`backward/indexing.py`). Read without onnx, since a board that builds plans has none.
"""

from __future__ import annotations

from pathlib import Path

from advcal_edge.runtime.backends.graph_check import every
from advcal_edge.runtime.backends.graph_scan import Scan
from advcal_edge.runtime.engine_file import EngineFile

SCATTERS = frozenset({"ScatterElements", "ScatterND"})


def scatter_nodes(path: Path) -> tuple[str, ...]:
    """Names of the nodes of an ONNX file that scatter with a reduction; those that only overwrite are not meant.

    Raises:
        EngineError: it is no ONNX graph.
    """
    nodes = every(Scan(EngineFile.of(path).data, path).model().graph.nodes)
    return tuple(node.name for node in nodes if node.op in SCATTERS and node.words.get("reduction", b"none") != b"none")
