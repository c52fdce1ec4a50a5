"""The parts of a forward graph that precision passes treat apart: what comes before the encoder, and its head."""

from __future__ import annotations

import onnx

MATRIX_PRODUCTS = frozenset({"MatMul", "Gemm", "Conv"})
"""Where nearly all the arithmetic is, and the operators TensorRT has reduced-precision kernels for."""


def head_nodes(graph: onnx.GraphProto) -> frozenset[str]:
    """Names of the nodes after the last LayerNormalization: final projection, adapter head, L2 norm.

    In a graph without LayerNormalization the head begins at the last matrix product.
    """
    nodes = list(graph.node)
    norms = [i for i, node in enumerate(nodes) if node.op_type == "LayerNormalization"]
    products = [i for i, node in enumerate(nodes) if node.op_type in MATRIX_PRODUCTS]
    start = norms[-1] + 1 if norms else products[-1] if products else len(nodes)
    return frozenset(node.name for node in nodes[start:])


def head_products(graph: onnx.GraphProto) -> frozenset[str]:
    """Names of the matrix products in the head."""
    head = head_nodes(graph)
    return frozenset(node.name for node in graph.node if node.name in head and node.op_type in MATRIX_PRODUCTS)


def stem_products(graph: onnx.GraphProto) -> frozenset[str]:
    """Name of the first matrix product, which reads the sensor's values."""
    names = [node.name for node in graph.node if node.op_type in MATRIX_PRODUCTS]
    return frozenset(names[:1])
