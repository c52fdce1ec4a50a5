"""What this machine can do, found out by doing it: each probe does the smallest real piece of work of its kind."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from advcal_edge.cli.plan_probe import any_build, rtx_build, tensorrt_build
from advcal_edge.errors import first_line

# y = Identity(x) on float (1, 4), IR 8, opset 13: `onnx.helper.make_model(...).SerializeToString().hex()`, made once so
# that the probe of the runtime needs no `onnx` package
IDENTITY = bytes.fromhex(
    "08083a3f0a100a017812017922084964656e746974791201675a130a0178120e0a0c080112080a0208010a020804"
    "62130a0179120e0a0c080112080a0208010a02080442040a00100d"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one probe found; `detail` is what works, or why it does not."""

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
    """Run the same graph on a CUDA device, and nowhere else."""
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


PROBES: Mapping[str, Callable[[], str]] = {
    "frames": cv2_round_trip,
    "disk": temporary_folder,
    "engine": onnxruntime_run,
    "engine-gpu": onnxruntime_cuda,
    "torch": torch_gradient,
    "config": toml_reader,
    "exporter": onnx_export,
    "html": html_report,
    "tensorrt": tensorrt_build,
    "rtx": rtx_build,
    "plans": any_build,
}
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "cpu": ("engine",),
    "gpu": ("engine", "engine-gpu"),
    "calibrate": ("torch", "config"),
    "export": ("torch", "exporter"),
    "report": ("html",),
    "trt": ("tensorrt",),
    "rtx": ("rtx",),
}
CAPABILITIES: Mapping[str, tuple[str, ...]] = {
    "run": ("frames", "engine"),
    "calibrate": ("frames", "disk", "torch", "config"),
    "export": ("disk", "torch", "exporter", "engine"),
    "verify": ("frames", "disk", "engine"),
    "trt": ("disk", "plans"),
}


def probe(name: str) -> Finding:
    """Do one probe; whatever it raises is the finding."""
    try:
        return Finding(name, True, PROBES[name]())
    except ImportError as error:
        return Finding(name, False, f"not installed: {error}")
    except Exception as error:  # a foreign library that is broken may raise anything, and that is what is looked for
        return Finding(name, False, first_line(error))


def expect(condition: object, complaint: str) -> None:
    """Fail a probe.

    Raises:
        RuntimeError: the condition does not hold.
    """
    if not condition:
        raise RuntimeError(complaint)
