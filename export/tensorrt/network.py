"""Parse an ONNX graph into a strongly typed network, and find the type of each matrix product."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from advcal_edge.errors import ExportError
from advcal_edge.export.scatter import scatter_nodes
from advcal_edge.export.tensorrt.check_precision import NODE
from advcal_edge.precision import PRECISIONS
from advcal_edge.runtime.backends.graph_check import check_graph
from advcal_edge.runtime.backends.trt_api import Product
from advcal_edge.runtime.engine_file import EngineFile

TYPES = {precision.tensorrt: name for name, precision in PRECISIONS.items()}
PRODUCTS = ("MATRIX_MULTIPLY", "CONVOLUTION", "DECONVOLUTION", "EINSUM")
UNFUSED = ("SOFTMAX", "NORMALIZATION")
PASSED_THROUGH = ("SHUFFLE", "CAST", "IDENTITY", "SLICE", "SQUEEZE", "UNSQUEEZE")


def read_network(product: Product, builder: Any, log: Any, graph: Path) -> Any:
    """Check `graph`, then parse it into a network whose types are exactly those of the graph.

    Raises:
        EngineError: it names external files or operators, or exceeds the limits; the parser then never reads it.
        ExportError: it scatters, or the parser rejects it; the message names operator and reason.
    """
    check_graph(EngineFile.of(graph))
    if scatters := scatter_nodes(graph):
        further = f" and {len(scatters) - 1} more" if len(scatters) > 1 else ""
        raise ExportError(
            f"{product} does not read `{graph.name}`: `{scatters[0]}`{further} adds into scattered places",
            hint="`--no-gradient` leaves this graph out, which still runs on ONNX Runtime; or keep picks by an index"
            " that differs from sample to sample out of the path from x to z",
        )
    module = product.module
    # accepted and ignored since TensorRT 11, where every network is strongly typed
    network = builder.create_network(1 << int(module.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = module.OnnxParser(network, log)
    if not parser.parse_from_file(str(graph)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        first = errors[0] if errors else None
        where = f" at `{first.node_name() or first.node_operator()}`" if first is not None else ""
        reason = first.desc().strip() if first is not None else "it gives no reason"
        raise ExportError(
            f"{product} does not read `{graph.name}`{where}: {reason}", hint="export again with `--opset 20`"
        )
    return network


def product_precisions(module: Any, network: Any) -> dict[str, str]:
    """Precision of each matrix product, by its name in the graph; for quantised values, that before dequantisation."""
    kinds = {getattr(module.LayerType, name) for name in PRODUCTS if hasattr(module.LayerType, name)}
    makers = {}
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    for layer in layers:
        for index in range(layer.num_outputs):
            makers[layer.get_output(index).name] = layer
    precisions = {}
    for layer in layers:
        if layer.type in kinds:
            name = next(iter(NODE.findall(str(layer.metadata))), str(layer.name))
            precisions[name] = input_precision(module, makers, layer)
    return precisions


def input_precision(module: Any, makers: dict[str, Any], product: Any) -> str:
    """The type of a product's first input, traced through a dequantisation and operators that only move values."""
    tensor = product.get_input(0)
    moves = {getattr(module.LayerType, name) for name in PASSED_THROUGH if hasattr(module.LayerType, name)}
    maker = makers.get(tensor.name)
    while maker is not None and maker.type in moves:
        maker = makers.get(maker.get_input(0).name)
    if maker is not None and maker.type == module.LayerType.DEQUANTIZE:
        tensor = maker.get_input(0)
    return TYPES.get(str(tensor.dtype).rpartition(".")[2], "other")


def break_fusions(module: Any, network: Any) -> int:
    """Make every softmax and norm an output, so that it cannot be fused into a kernel; returns their number.

    Fused attention has been wrong although its parts were right (TensorRT issue 4837).
    """
    added = 0
    for layer in list(unfused(module, network)):
        tensor = layer.get_output(0)
        if not tensor.is_network_output:
            network.mark_output(tensor)
            added += 1
    return added


def unfused(module: Any, network: Any) -> Iterator[Any]:
    """The layers that fused attention and fused norms consist of."""
    kinds = {getattr(module.LayerType, name) for name in UNFUSED}
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type in kinds:
            yield layer
