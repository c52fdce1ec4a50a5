"""What `onnx` reads in a graph, in the words of our own reader: the reference that `graph_scan` is held against."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import numpy_helper

from advcal_edge.runtime.backends import graph_scan as scan

KINDS = {1: "float_data", 6: "int32_data", 7: "int64_data", 11: "double_data"}


def read_model(model: onnx.ModelProto) -> scan.Model:
    """A model that `onnx` has parsed."""
    functions = [
        scan.Function(f.name, f.domain, [read_node(node) for node in f.node], list(f.input), list(f.output))
        for f in model.functions
    ]
    return scan.Model(read_body(model.graph), functions, [entry.key for entry in model.metadata_props])


def read_body(graph: onnx.GraphProto) -> scan.Body:
    """A graph or subgraph."""
    return scan.Body(
        [read_node(node) for node in graph.node],
        [read_tensor(tensor) for tensor in graph.initializer],
        [read_sparse(sparse) for sparse in graph.sparse_initializer],
    )


def read_node(node: onnx.NodeProto) -> scan.Node:
    """A node; of numbers and texts only the short ones are compared."""
    found = scan.Node(node.op_type, node.name, node.domain, list(node.input), list(node.output))
    for attribute in node.attribute:
        found.tensors += map(read_tensor, attribute.tensors)
        found.graphs += map(read_body, attribute.graphs)
        found.sparse += map(read_sparse, attribute.sparse_tensors)
        found.tensors += [read_tensor(attribute.t)] if attribute.HasField("t") else []
        found.graphs += [read_body(attribute.g)] if attribute.HasField("g") else []
        found.sparse += [read_sparse(attribute.sparse_tensor)] if attribute.HasField("sparse_tensor") else []
        single = [getattr(attribute, slot) for slot in ("i", "f") if attribute.HasField(slot)]
        numbers = tuple(attribute.ints) or tuple(attribute.floats) or tuple(single[:1])
        if attribute.HasField("s") and len(attribute.s) <= scan.SMALL:
            found.words[attribute.name] = attribute.s
        if numbers:
            found.numbers[attribute.name] = numbers
    return found


def read_tensor(tensor: onnx.TensorProto) -> scan.Tensor:
    """A constant, without its bytes."""
    raw = len(tensor.raw_data) if tensor.HasField("raw_data") else None
    outside = tensor.data_location == onnx.TensorProto.EXTERNAL
    external = [(entry.key, entry.value) for entry in tensor.external_data] if outside else None
    found = scan.Tensor(tensor.name, list(tensor.dims), tensor.data_type, raw, 0, external)
    if tensor.data_type in KINDS:
        plain = list(getattr(tensor, KINDS[tensor.data_type]))
        if raw is not None and raw <= scan.SMALL and not outside:
            copy = onnx.TensorProto(data_type=tensor.data_type, raw_data=tensor.raw_data)
            size = {1: 4, 6: 4, 7: 8, 11: 8}[tensor.data_type]
            del copy.dims[:]
            copy.dims.append(raw // size)
            copy.raw_data = tensor.raw_data[: raw // size * size]
            found.values = tuple(numpy_helper.to_array(copy).tolist())
        elif raw is None and plain:
            found.values = tuple(plain)
    return found


def read_sparse(sparse: onnx.SparseTensorProto) -> scan.Sparse:
    """A sparse constant."""
    parts = [read_tensor(getattr(sparse, slot)) for slot in ("values", "indices") if sparse.HasField(slot)]
    return scan.Sparse(list(sparse.dims), parts)


def listed_values(model: onnx.ModelProto) -> Iterable[int]:
    """How many values each initializer has one by one, for the bound that the scan gives."""
    for tensor in model.graph.initializer:
        slots = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
        yield sum(len(getattr(tensor, slot)) for slot in slots)
