"""Probes of this machine: each does the smallest real piece of work of its kind."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from advcal_edge.cli.expectation import expect
from advcal_edge.cli.ros_probes import middleware, numpy_version, rclpy_message, shared_memory
from advcal_edge.errors import AdvcalError, DependencyError, first_line
from advcal_edge.runtime.backends.trt_api import Product, find_product

# y = Identity(x) on float (1, 4), IR 8, opset 13: `onnx.helper.make_model(...).SerializeToString().hex()`, made once so
# that the probe of the runtime needs no `onnx` package
IDENTITY = bytes.fromhex(
    "08083a3f0a100a017812017922084964656e746974791201675a130a0178120e0a0c080112080a0208010a020804"
    "62130a0179120e0a0c080112080a0208010a02080442040a00100d"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one probe; `detail` is what works, or why it does not."""

    name: str
    works: bool
    detail: str


def cv2_round_trip() -> str:
    """Encode and decode a frame."""
    import cv2
    import numpy as np

    frame = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    written, data = cv2.imencode(".png", frame)
    decoded = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    expect(written and decoded is not None and np.array_equal(decoded, frame), "png came back different")
    return f"opencv {cv2.__version__}: png round trip"


def onnxruntime_run() -> str:
    """Run a graph of one identity on the CPU."""
    import numpy as np
    import onnxruntime as ort

    x = np.arange(4, dtype=np.float32)[None]
    (y,) = ort.InferenceSession(IDENTITY, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    expect(np.array_equal(x, y), f"identity of {x.tolist()} is {y.tolist()}")
    return f"onnxruntime {ort.__version__}: identity graph on the CPU"


def onnxruntime_cuda() -> str:
    """Run the same graph on a CUDA device, without fallback to the CPU."""
    import numpy as np
    import onnxruntime as ort

    offered = ort.get_available_providers()
    expect("CUDAExecutionProvider" in offered, f"onnxruntime {ort.__version__} offers {', '.join(offered)}")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(IDENTITY, options, providers=["CUDAExecutionProvider"], enable_fallback=0)
    expect("CUDAExecutionProvider" in session.get_providers(), "onnxruntime found no usable CUDA device")
    session.run(None, {"x": np.zeros((1, 4), np.float32)})
    return f"onnxruntime {ort.__version__}: identity graph on CUDA"


def openvino_run() -> str:
    """Run the same graph in OpenVINO on the CPU, and say in which precisions it computes there."""
    import numpy as np

    from advcal_edge.runtime.backends.openvino import DEVICE, import_openvino, version

    openvino = import_openvino()
    core = openvino.Core()
    x = np.arange(4, dtype=np.float32)[None]
    (y,) = core.compile_model(core.read_model(IDENTITY, b""), DEVICE).create_infer_request().infer({0: x}).values()
    expect(np.array_equal(x, y), f"identity of {x.tolist()} is {y.tolist()}")
    offered = core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
    floats = [name.lower() for name in ("FP32", "BF16", "FP16") if name in offered]
    return f"openvino {version(openvino)}: identity graph on the CPU, which has {', '.join(floats)}"


def torch_gradient() -> str:
    """Multiply matrices and differentiate the result."""
    import torch

    x = torch.ones(2, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad((x @ torch.ones(3, 2)).sum(), x)
    expect(bool((gradient == 2).all()), f"gradient is {gradient.tolist()}; expected 2")
    return f"torch {torch.__version__}: matmul and its gradient"


def onnx_export() -> str:
    """Load the exporter, and check a graph."""
    import onnx
    import onnxscript
    import torch.onnx

    onnx.checker.check_model(onnx.load_from_string(IDENTITY))
    expect(callable(torch.onnx.export), "torch.onnx.export is missing")
    return f"onnx {onnx.__version__}, onnxscript {onnxscript.__version__}: checker runs, exporter loads"


def html_report() -> str:
    """Render a template."""
    import jinja2

    expect(jinja2.Template("{{ a }}").render(a=1) == "1", "nothing was rendered")
    return f"jinja2 {jinja2.__version__}: template rendered"


def signature() -> str:
    """Sign with a new key, and verify."""
    import cryptography
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    from advcal_edge.attestation import PrivateKey

    key = PrivateKey(generate_private_key(SECP256R1()))
    expect(key.public.accepts(key.sign(b"data"), b"data"), "its own signature was refused")
    return f"cryptography {cryptography.__version__}: ECDSA signs and verifies"


def dask_client() -> str:
    """Load the client of a Dask cluster; none is looked for."""
    import distributed

    expect(callable(distributed.Client), "there is no client")
    return f"distributed {distributed.__version__}: client loads"


def ray_client() -> str:
    """Load the client of a Ray cluster; none is looked for."""
    import ray

    expect(callable(ray.remote), "there is no client")
    return f"ray {ray.__version__}: client loads"


def toml_reader() -> str:
    """Read a configuration."""
    toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    expect(toml.loads("a = 1") == {"a": 1}, "a configuration came back different")
    return f"{toml.__name__}: toml is read"


def temporary_folder() -> str:
    """Write and read a file where bundles are staged."""
    with tempfile.TemporaryDirectory(prefix="advcal-edge.") as folder:
        path = Path(folder, "probe")
        path.write_bytes(IDENTITY)
        expect(path.read_bytes() == IDENTITY, f"`{path}` came back different")
    return f"{tempfile.gettempdir()}: written and read"


SHAPE = (1, 4)


def tensorrt_build() -> str:
    """Build one layer with TensorRT, and run it if there is a device."""
    return build_and_run(find_product("tensorrt"))


def rtx_build() -> str:
    """Build one layer with TensorRT-RTX, and run it if there is a device."""
    return build_and_run(find_product("tensorrt_rtx"))


def any_build() -> str:
    """Build one layer with whichever product is installed, TensorRT first."""
    try:
        return tensorrt_build()
    except DependencyError as absent:
        try:
            return rtx_build()
        except DependencyError:
            raise absent from None


def build_and_run(product: Product) -> str:
    """Build y = relu(x), run it if there is a device, and return a description."""
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


PROBES: Mapping[str, Callable[[], str]] = {
    "frames": cv2_round_trip,
    "disk": temporary_folder,
    "engine": onnxruntime_run,
    "engine-gpu": onnxruntime_cuda,
    "openvino": openvino_run,
    "torch": torch_gradient,
    "config": toml_reader,
    "exporter": onnx_export,
    "html": html_report,
    "signature": signature,
    "dask": dask_client,
    "ray": ray_client,
    "tensorrt": tensorrt_build,
    "rtx": rtx_build,
    "plans": any_build,
    "ros": rclpy_message,
    "ros-rmw": middleware,
    "ros-memory": shared_memory,
    "ros-numpy": numpy_version,
}
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "cpu": ("engine",),
    "gpu": ("engine", "engine-gpu"),
    "openvino": ("openvino",),
    "calibrate": ("torch", "config"),
    "export": ("torch", "exporter"),
    "report": ("html",),
    "attest": ("signature",),
    "dask": ("dask",),
    "ray": ("ray",),
    "trt": ("tensorrt",),
    "rtx": ("rtx",),
    "ros": ("ros", "ros-rmw"),
}
CAPABILITIES: Mapping[str, tuple[str, ...]] = {
    "run": ("frames", "engine"),
    "calibrate": ("frames", "disk", "torch", "config"),
    "export": ("disk", "torch", "exporter", "engine"),
    "verify": ("frames", "disk", "engine"),
    "trt": ("disk", "plans"),
    "ros": ("frames", "engine", "ros", "ros-rmw"),
}


def probe(name: str) -> Finding:
    """Run one probe; any exception it raises is its result."""
    try:
        return Finding(name, True, PROBES[name]())
    except (ImportError, DependencyError) as error:
        return Finding(name, False, f"not installed: {error}")
    except Exception as error:  # a broken third-party library may raise anything, and that is the result
        return Finding(name, False, first_line(error))
