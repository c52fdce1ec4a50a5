"""Whether plans can be built and run here, found out with a network of one layer."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from advcal_edge.errors import AdvcalError, DependencyError
from advcal_edge.runtime.backends.trt_api import Product, find_product

SHAPE = (1, 4)


def tensorrt_build() -> str:
    """Build one layer with TensorRT, and run it where there is a device."""
    return build_and_run(find_product("tensorrt"))


def rtx_build() -> str:
    """Build one layer with TensorRT-RTX, and run it where there is a device."""
    return build_and_run(find_product("tensorrt_rtx"))


def any_build() -> str:
    """Build one layer with whichever product is here, TensorRT first."""
    try:
        return tensorrt_build()
    except DependencyError as absent:
        try:
            return rtx_build()
        except DependencyError:
            raise absent from None


def build_and_run(product: Product) -> str:
    """Build y = relu(x), run it where there is a device, and say what was done."""
    from advcal_edge.export.tensorrt.build import find_device

    plan = build_layer(product)
    device = find_device()
    if device is None:
        return f"{product}: one layer built, {len(plan)} bytes; no CUDA device to run it on"
    run_layer(product, plan)
    return f"{product}: one layer built and run on {device}"


def build_layer(product: Product) -> bytes:
    """A plan of y = relu(x) on float32 (1, 4).

    Raises:
        AdvcalError: the builder refuses.
    """
    from advcal_edge.runtime.backends.trt_api import collecting_log

    module: Any = product.module
    log = collecting_log(module)
    builder = module.Builder(log)
    network = builder.create_network(1 << int(module.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    layer = network.add_activation(network.add_input("x", module.DataType.FLOAT, SHAPE), module.ActivationType.RELU)
    layer.get_output(0).name = "y"
    network.mark_output(layer.get_output(0))
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    if plan is None:
        raise AdvcalError(f"{product} builds nothing: {next(iter(log.errors), 'it gives no reason')}")
    return bytes(plan)


def run_layer(product: Product, plan: bytes) -> None:
    """Run the plan of `build_layer`.

    Raises:
        AdvcalError: it does not run, or returns something else.
    """
    import numpy as np

    from advcal_edge.runtime.backends.tensorrt import TensorRTBackend

    x = np.array([[-1, 0, 1, 2]], np.float32)
    with tempfile.TemporaryDirectory(prefix="advcal-edge.") as folder:
        path = Path(folder, "relu.plan")
        path.write_bytes(plan)
        (y,) = TensorRTBackend(path, product=product).run({"x": x})
    if not np.array_equal(y, np.maximum(x, 0)):
        raise AdvcalError(f"relu of {x.tolist()} came back as {y.tolist()}")
