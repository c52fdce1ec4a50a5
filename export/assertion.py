"""Whether a build has the precision that was asked for: by the types of its network, and by the layers of its plan."""

from __future__ import annotations

from typing import Any

from advcal_edge.errors import ExportError
from advcal_edge.export.inspector import Achieved, hold, read_layers
from advcal_edge.runtime.backends.trt_api import Product, collecting_log
from advcal_edge.runtime.metadata import Device


def judge(
    product: Product, device: Device | None, data: bytes, precision: str, wanted: dict[str, str]
) -> tuple[Achieved, str]:
    """What precision was achieved, and what says so.

    Raises:
        ExportError: it is not what was asked for.
    """
    reduced = [node for node, found in wanted.items() if found == precision]
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
    achieved = hold(precision, wanted, layers)
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
