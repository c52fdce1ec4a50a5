"""Check that a plan has the requested precision, by the types of its network and by the layers of the engine.

The layers come from the engine inspector's JSON. TensorRT 10 gives each tensor of a layer one text, `Format/Datatype`;
TensorRT 11 splits it into `Format` and `DataType` (its migration guide). Fused layers list the operators of their
source graph in `Metadata`.
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
    """The precision that was achieved, and the evidence for it.

    Raises:
        ExportError: it is not the requested precision.
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
    return Achieved(precision, wanted), "network"  # TensorRT-RTX chooses kernels at the first run of a plan


def inspect(product: Product, data: bytes) -> str:
    """The engine inspector's JSON of a plan, with shapes set: otherwise TensorRT 10 gives no types.

    Raises:
        ExportError: the plan that was just built does not load.
    """
    module, log = product.module, collecting_log(product.module)
    runtime = module.Runtime(log)
    if hasattr(runtime, "engine_host_code_allowed"):
        runtime.engine_host_code_allowed = True  # this process has just built it
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise ExportError(f"{product} does not load the plan it just built: {reason(log)}")
    # without memory for activations, since nothing runs
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
    """The product's error message."""
    return next(iter(log.errors), "it gives no reason")


@dataclass(frozen=True, slots=True)
class EngineLayer:
    """One kernel of a plan: precisions of its inputs, weights and outputs, and the graph's operators it computes."""

    name: str
    kind: str
    tactic: str
    precisions: frozenset[str]
    nodes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Achieved:
    """Precisions of a graph's matrix products; `layers` has those that were identified."""

    precision: str
    layers: Mapping[str, str]


def read_layers(document: str) -> tuple[EngineLayer, ...]:
    """Layers in the inspector's engine information, of either version.

    Raises:
        ExportError: malformed, or made without detailed profiling verbosity.
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
    """Read one layer."""
    precisions = frozenset(precision for text in datatypes(layer) if (precision := precision_of(text)) is not None)
    metadata = str(layer.get("Metadata", ""))
    return EngineLayer(
        str(layer["Name"]),
        str(layer.get("LayerType", "")),
        str(layer.get("TacticName", "")),
        precisions,
        frozenset(NODE.findall(metadata)),
    )


def datatypes(layer: Mapping[str, Any]) -> Iterator[str]:
    """The texts that contain types: of inputs, outputs and weights."""
    for tensor in (*layer.get("Inputs", ()), *layer.get("Outputs", ())):
        yield str(tensor.get("DataType", tensor.get("Format/Datatype", "")))
    weights = layer.get("Weights")
    if isinstance(weights, Mapping):
        yield str(weights.get("Type", ""))


def precision_of(text: str) -> str | None:
    """`fp16` for `Half` or `Row major linear FP16 format`; None for integers, booleans and unset shapes."""
    return next((name for name, pattern in WORDS if pattern.search(text)), None)


def compare_layers(asked: str, wanted: Mapping[str, str], layers: Sequence[EngineLayer]) -> Achieved:
    """Compare a plan's layers with the types its graph gives the matrix products in `wanted`.

    A product counts if some kernel that computes it reads or writes in its precision. A product that no kernel names,
    or only without types, is left out, so that `layers` may come back empty. If kernels do state types, at least one
    must show the requested precision.

    Raises:
        ExportError: a product runs in another precision, or in TF32 although fp32 was requested.
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
    """Does a product have the requested precision or, if layers do not name operators, any layer?"""
    return any(wanted[node] == asked for node in known) if known else any(asked in layer.precisions for layer in layers)


def check_full(layers: Sequence[EngineLayer]) -> None:
    """Refuse reduced precision in an fp32 plan.

    Raises:
        ExportError: a kernel reads or writes it, or uses TF32.
    """
    for layer in layers:
        reduced = layer.precisions & REDUCED
        if reduced or "tf32" in layer.tactic.lower():
            found = "+".join(sorted(reduced)) or "tf32"
            raise ExportError(f"precision not achieved: fp32 was asked for and the kernel `{layer.name}` is {found}")


def count(wanted: Mapping[str, str], precision: str) -> int:
    """Number of products with a precision."""
    return sum(kind == precision for kind in wanted.values())
