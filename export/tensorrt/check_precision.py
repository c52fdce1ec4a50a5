"""Whether a plan has the precision that was asked for: by the types of its network, and by the layers of the engine.

The layers come from the engine inspector's JSON. TensorRT 10 gives each tensor of a layer one text, `Format/Datatype`;
TensorRT 11 splits it into `Format` and `DataType` (its migration guide). Layers that were fused name the operators of
the graph they came from in `Metadata`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advcal_edge.errors import ExportError
from advcal_edge.precision import PRECISIONS
from advcal_edge.runtime.backends.trt_api import Product, collecting_log
from advcal_edge.runtime.metadata import Device

WORDS = tuple((name, re.compile(precision.kernels, re.I)) for name, precision in reversed([*PRECISIONS.items()]))
NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
REDUCED = frozenset(PRECISIONS) - {"fp32"}


def check_precision(
    product: Product, device: Device | None, data: bytes, precision: str, wanted: dict[str, str]
) -> tuple[Achieved, str]:
    """What precision was achieved, and what says so.

    Raises:
        ExportError: it is not what was asked for.
    """
    reduced = [node for node, kind in wanted.items() if kind == precision]
    strange = sorted(set(wanted.values()) - {precision, "fp32"})
    if strange or not reduced:
        raise ExportError(
            f"precision not achieved: {precision} was asked for and {product} reads the graph's {len(wanted)} matrix"
            f" products as {', '.join(sorted(set(wanted.values()))) or 'none'}",
            hint="export the graph again, then build the plan from it with `--trt`",
        )
    if device is None:
        return Achieved(precision, wanted), "network"
    layers = read_layers(inspect(product, data))
    achieved = compare_layers(precision, wanted, layers)
    if any(layer.precisions for layer in layers):
        return achieved, "engine"
    if product.name == "tensorrt":
        raise ExportError(
            f"precision cannot be asserted: {product} tells no types of the {len(layers)} layers it built"
        )
    return Achieved(precision, wanted), "network"  # TensorRT-RTX chooses kernels when a plan is first run


def inspect(product: Product, data: bytes) -> str:
    """The engine inspector's JSON about a plan, with shapes settled: without, TensorRT 10 tells no types.

    Raises:
        ExportError: the plan that was just built does not load.
    """
    module, log = product.module, collecting_log(product.module)
    runtime = module.Runtime(log)
    if hasattr(runtime, "engine_host_code_allowed"):
        runtime.engine_host_code_allowed = True  # it was built a moment ago, by this process
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise ExportError(f"{product} does not load the plan it just built: {reason(log)}")
    # without memory for activations, since nothing is run
    context = engine.create_execution_context(module.ExecutionContextAllocationStrategy.USER_MANAGED)
    if context is None:
        raise ExportError(f"{product} cannot inspect the plan it just built: {reason(log)}")
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        reads = engine.get_tensor_mode(name) == module.TensorIOMode.INPUT
        if reads and not context.set_input_shape(name, engine.get_tensor_profile_shape(name, 0)[1]):
            raise ExportError(f"{product} does not take the shapes it was built for, of `{name}`: {reason(log)}")
    inspector = engine.create_engine_inspector()
    inspector.execution_context = context
    return str(inspector.get_engine_information(module.LayerInformationFormat.JSON))


def reason(log: Any) -> str:
    """What the product said went wrong."""
    return next(iter(log.errors), "it gives no reason")


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
    """Layers of the inspector's engine information, of either version.

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


def compare_layers(asked: str, wanted: Mapping[str, str], layers: Sequence[EngineLayer]) -> Achieved:
    """Compare a plan's layers with the types its graph gives the matrix products in `wanted`.

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
    known = {node: precisions for node, precisions in seen.items() if precisions}
    off = {node: precisions for node, precisions in known.items() if wanted[node] not in precisions}
    if off:
        node, precisions = next(iter(off.items()))
        raise ExportError(
            f"precision not achieved: {len(off)} of {len(known)} matrix products run in another precision than the"
            f" graph says; `{node}` is {wanted[node]} in the graph and {'+'.join(sorted(precisions))} in the plan",
            hint="build with `--precision fp32`, which has none" if asked != "fp32" else "report it, with the graph",
        )
    if asked == "fp32":
        check_full(layers)
    elif any(layer.precisions for layer in layers) and not shows(asked, wanted, known, layers):
        raise ExportError(
            f"precision not achieved: no kernel of the plan shows {asked}, which {count(wanted, asked)} matrix products"
            " of the graph have",
            hint="look at the layers: `trtexec --loadEngine=PLAN --dumpLayerInfo --profilingVerbosity=detailed`",
        )
    return Achieved(asked, {node: wanted[node] for node in known})


def shows(asked: str, wanted: Mapping[str, str], known: Mapping[str, set[str]], layers: Sequence[EngineLayer]) -> bool:
    """Whether a product has the precision asked for, or, where layers name no operators, any layer."""
    return any(wanted[node] == asked for node in known) if known else any(asked in layer.precisions for layer in layers)


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
    return sum(kind == precision for kind in wanted.values())
