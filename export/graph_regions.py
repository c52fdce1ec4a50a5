"""The regions of a forward graph that precision passes distinguish: stem, blocks, attention scores, residuals, head."""

from __future__ import annotations

from itertools import pairwise, takewhile

import onnx

MATRIX_PRODUCTS = frozenset({"MatMul", "Gemm", "Conv"})
"""Operators with nearly all the arithmetic, for which TensorRT has reduced-precision kernels."""

MOVES = frozenset(
    {"Reshape", "Transpose", "Unsqueeze", "Squeeze", "Flatten", "Identity"}
    | {"Concat", "Split", "Slice", "Gather", "Expand", "Tile", "Pad"}
)
"""Operators that move values without computing: they take the precision of their input."""

ELEMENTWISE = frozenset({"Gelu", "Erf", "Sigmoid", "Tanh", "Relu", "Mul", "Div", "Add", "Sub"})
"""Bias, scale and activation around a matrix product."""


def named(graph: onnx.GraphProto, *op_types: str) -> frozenset[str]:
    """Names of the nodes of these operators."""
    return frozenset(node.name for node in graph.node if node.op_type in op_types)


def products(graph: onnx.GraphProto) -> frozenset[str]:
    """Names of all matrix products."""
    return named(graph, *MATRIX_PRODUCTS)


def constants(graph: onnx.GraphProto) -> frozenset[str]:
    """Names of values that do not depend on the input: weights, and values that are only moved from them.

    An example is a class token expanded to the batch. Nodes are in topological order.
    """
    fixed = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        moved = node.input if node.op_type == "Concat" else node.input[:1]
        if node.op_type in MOVES and fixed.issuperset(moved):
            fixed.update(node.output)
    return frozenset(fixed)


def input_nodes(graph: onnx.GraphProto) -> frozenset[str]:
    """Names of the nodes before the first matrix product, which normalise the sensor's values."""
    nodes = list(graph.node)
    first = next((i for i, node in enumerate(nodes) if node.op_type in MATRIX_PRODUCTS), len(nodes))
    return frozenset(node.name for node in nodes[:first])


def stem_products(graph: onnx.GraphProto) -> frozenset[str]:
    """Name of the first matrix product, which reads the sensor's values."""
    names = [node.name for node in graph.node if node.op_type in MATRIX_PRODUCTS]
    return frozenset(names[:1])


def residual_sums(graph: onnx.GraphProto) -> frozenset[str]:
    """Names of sums and differences of two values that both depend on the input."""
    fixed = constants(graph)
    return frozenset(
        node.name
        for node in graph.node
        if node.op_type in ("Add", "Sub") and sum(name not in fixed for name in node.input) > 1
    )


def attention_scores(graph: onnx.GraphProto) -> frozenset[str]:
    """Names of the nodes from each product of queries and keys up to its Softmax, without the Softmax."""
    makers = {name: node for node in graph.node for name in node.output}
    names: set[str] = set()
    for softmax in graph.node:
        if softmax.op_type != "Softmax":
            continue
        path: set[str] = set()
        reached = False
        waiting = list(softmax.input)
        while waiting:
            node = makers.get(waiting.pop())
            if node is None or node.name in path:
                continue
            if node.op_type == "MatMul":
                path.add(node.name)
                reached = True
            elif node.op_type in MOVES or node.op_type in ELEMENTWISE:
                path.add(node.name)
                waiting.extend(node.input)
        names |= path if reached else set()
    return frozenset(names)


def blocks(graph: onnx.GraphProto) -> tuple[frozenset[str], ...]:
    """Names of the nodes of each transformer block, first block first; the head does not belong to any.

    A block begins at the LayerNormalization whose products feed a Softmax, which is that of its attention, and includes
    the norm of its MLP. In a graph without attention every norm followed by a product begins a block.
    """
    nodes = list(graph.node)
    norms = [i for i, node in enumerate(nodes) if node.op_type == "LayerNormalization"]
    scores = attention_scores(graph)
    groups: list[set[str]] = []
    for start, end in pairwise(norms):
        part = nodes[start:end]
        names = {node.name for node in part}
        if not any(node.op_type in MATRIX_PRODUCTS for node in part):
            continue
        if not scores or not scores.isdisjoint(names):
            groups.append(names)
        elif groups:
            groups[-1] |= names
    return tuple(map(frozenset, groups))


def last_blocks(graph: onnx.GraphProto) -> frozenset[str]:
    """Names of the matrix products in the last quarter of the blocks, at least one block."""
    groups = blocks(graph)
    last = groups[-max(1, len(groups) // 4) :]
    return frozenset().union(*last) & products(graph)


def head_nodes(graph: onnx.GraphProto) -> frozenset[str]:
    """Names of the nodes after the last LayerNormalization: final projection, adapter head, L2 norm.

    In a graph without LayerNormalization the head begins at the last matrix product.
    """
    nodes = list(graph.node)
    norms = [i for i, node in enumerate(nodes) if node.op_type == "LayerNormalization"]
    factors = [i for i, node in enumerate(nodes) if node.op_type in MATRIX_PRODUCTS]
    start = norms[-1] + 1 if norms else factors[-1] if factors else len(nodes)
    return frozenset(node.name for node in nodes[start:])


def scopes(graph: onnx.GraphProto) -> dict[str, str]:
    """The module of each matrix product, as far as the graph tells, like `blocks.3.attention.qkv`.

    The exporter names weights and biases after their module. A product without either, like that of queries and keys,
    gets the module that holds both its neighbours, here `blocks.3.attention`.
    """
    weights = {tensor.name for tensor in graph.initializer}
    added = {name: node for node in graph.node if node.op_type == "Add" for name in node.input}

    def own(node: onnx.NodeProto) -> str:
        bias = added.get(node.output[0])
        inputs = (*node.input, *(bias.input if bias is not None else ()))
        return next((name.rpartition(".")[0] for name in inputs if name in weights and "." in name), "")

    factors = [node for node in graph.node if node.op_type in MATRIX_PRODUCTS]
    found = [own(node) for node in factors]
    for i, scope in enumerate(found):
        if not scope:
            before = next((name for name in reversed(found[:i]) if name), "")
            after = next((name for name in found[i + 1 :] if name), "")
            found[i] = holder(before, after)
    return {node.name: scope for node, scope in zip(factors, found, strict=True) if scope}


def holder(module: str, other: str) -> str:
    """The innermost module that holds both, or that is one of them and holds the other; empty if there is none."""
    pairs = zip(module.split("."), other.split("."), strict=False)
    return ".".join(name for name, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
