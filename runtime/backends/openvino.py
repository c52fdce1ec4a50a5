"""OpenVINO IR on the CPU: the bytes that were hashed are the bytes that run, in the precision that the engine names."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from advcal_edge.errors import DependencyError, EngineError, first_line
from advcal_edge.runtime.backends import Backend, Feeds, Floats, OpenOptions
from advcal_edge.runtime.backends.first_run import run_bounded
from advcal_edge.runtime.backends.ir_check import HINT, OPTIONS, Facts, check_ir
from advcal_edge.runtime.backends.onnx import label, threads_of_environment
from advcal_edge.runtime.backends.tensor_io import FLOAT, TensorSignature
from advcal_edge.runtime.engine_file import EngineFile
from advcal_edge.runtime.weights import usual_name

DEVICE = "CPU"
CHUNK = 64
TELEMETRY = "openvino_telemetry"
SETTINGS = {
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": "1",
    "ENABLE_CPU_PINNING": "NO",  # pinned threads of several processes would share one core while others idle
    "EXECUTION_MODE_HINT": "ACCURACY",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",  # else inputs of products with small weights are rounded to int8
}


class OpenVinoBackend(Backend):
    """An IR compiled for the CPU; safe to use from several threads, which take turns."""

    kind = "IR"

    def __init__(self, engine: str | Path | EngineFile, *, threads: int | None = None, largest: int = CHUNK) -> None:
        """Compile an IR from its path, or from bytes already read.

        Floating-point operators run in float32 unless the IR names another precision in its runtime options.

        Raises:
            EngineError: missing, no IR, unsafe, or in a precision that this CPU does not have.
            DependencyError: openvino is not installed.
        """
        openvino = import_openvino()
        file = EngineFile.of(engine)
        weights = file.weights.get(usual_name(file.path), b"")
        facts = check_ir(file.data, len(weights), file.path)
        self.path, self.sha256, self.largest = file.path, file.sha256, largest
        compiled = self._compile(openvino, file.data, weights, settings(facts, threads))
        execution = str(compiled.get_property(HINT).to_string())
        if execution != facts.execution:
            raise lacks_precision(self.path, facts.execution, execution)
        place = f"{DEVICE}:{execution}" + (f":int8-{int8_arithmetic()}" if facts.quantized else "")
        self.fingerprint = f"openvino {version(openvino)} {place} sha256:{self.sha256[:12]}"
        self.precision, self.step = facts.precision or "custom", label(facts.label("step"))
        self.inputs = tuple(map(signature, compiled.inputs))
        self.outputs = tuple(map(signature, compiled.outputs))
        self._request, self._turn = compiled.create_infer_request(), Lock()
        self._ended: set[int] = set()  # batch sizes whose first run has come to an end

    def _compile(self, openvino: Any, data: bytes, weights: bytes, chosen: dict[str, str]) -> Any:
        core = openvino.Core()
        try:
            return run_bounded(
                lambda: core.compile_model(core.read_model(data, weights), DEVICE, chosen),
                lambda: None,  # compiling cannot be interrupted
                f"loading `{self.path}`",
            )
        except EngineError:
            raise
        except Exception as error:  # openvino raises RuntimeError for everything
            raise EngineError(
                f"`{self.path}` is no IR that openvino {version(openvino)} can compile: {reason(error)}",
                hint=self.remake(),
            ) from error

    def run(self, feeds: Feeds) -> Sequence[Floats]:
        """All outputs, in freshly allocated arrays.

        Raises:
            EngineError: the IR fails on these inputs.
        """
        arrays = {index: np.ascontiguousarray(feeds[tensor.name]) for index, tensor in enumerate(self.inputs)}
        size = len(next(iter(feeds.values())))
        try:
            with self._turn:
                if size in self._ended:
                    return self._infer(arrays)
                outputs = run_bounded(
                    lambda: self._infer(arrays), self._request.cancel, f"the first run of `{self.path}`"
                )
                self._ended.add(size)
                return outputs
        except EngineError:
            raise
        except Exception as error:  # as above
            shapes = ", ".join(f"{name} {value.shape}" for name, value in feeds.items())
            raise EngineError(f"`{self.path}` failed on {shapes}: {reason(error)}") from error

    def _infer(self, arrays: dict[int, Floats]) -> list[Floats]:
        outputs = self._request.infer(arrays, share_inputs=True, share_outputs=False)
        return [outputs[index] for index in range(len(self.outputs))]

    def bare(self, feeds: Feeds) -> object:
        """Run the request only."""
        outputs: object = self._request.infer(dict(feeds), share_inputs=True, share_outputs=True)
        return outputs

    def remake(self) -> str:
        """How to convert the graph again."""
        return "convert the graph again, with `openvino.save_model`"


def open_ir(file: EngineFile, options: OpenOptions) -> OpenVinoBackend:
    """Open an IR on the CPU.

    Raises:
        EngineError: it cannot run here.
        DependencyError: openvino is not installed.
    """
    return OpenVinoBackend(file, threads=options.threads)


def settings(facts: Facts, threads: int | None) -> dict[str, str]:
    """Settings for OpenVINO, which else lowers the precision where the CPU has bf16 or fp16."""
    chosen = {**SETTINGS, HINT: facts.execution}
    count = threads or threads_of_environment()
    return chosen if count is None else {**chosen, "INFERENCE_NUM_THREADS": str(count)}


def signature(port: Any) -> TensorSignature:
    """The signature of an input or output. Of several names of one tensor the shortest counts, then the alphabet."""
    names = sorted(port.get_names(), key=lambda name: (len(name), name)) or [port.get_node().get_friendly_name()]
    kind = str(port.get_element_type().to_string())
    shape = port.get_partial_shape()
    axes = [] if shape.rank.is_dynamic else [axis.get_length() if axis.is_static else None for axis in shape]
    return TensorSignature(names[0], FLOAT if kind == "f32" else kind, tuple(axes))


@cache
def int8_arithmetic() -> str:
    """How OpenVINO adds products of signed int8 here: `exact`, or `saturating` at 16 bits as on x86 without VNNI.

    Found out by a product whose sum exceeds 16 bits.
    """
    openvino = import_openvino()
    x = np.ones((1, 64), np.float32)
    exact = 64 * 127.0
    model = quantized_product(openvino, weights=np.full((64, 16), 127, np.int8))
    compiled = openvino.Core().compile_model(model, DEVICE, {**SETTINGS, HINT: "f32", "INFERENCE_NUM_THREADS": "1"})
    (z,) = compiled.create_infer_request().infer({0: x}).values()
    return "exact" if np.allclose(z, exact, rtol=1e-3) else "saturating"


def quantized_product(openvino: Any, weights: Any) -> Any:
    """z = x W for x (n, k) rounded to multiples of 1/127 in [-128/127, 1] and int8 W (k, d), as in int8 graphs."""
    ops = openvino.opset13
    x = ops.parameter([-1, weights.shape[0]], np.float32)
    low, high, one = (ops.constant(np.float32(bound)) for bound in (-128 / 127, 1, 1))
    values = ops.fake_quantize(x, low, high, low, high, 256)
    factors = ops.multiply(ops.convert(ops.constant(weights), "f32"), one)
    return openvino.Model([ops.matmul(values, factors, False, False)], [x], "int8")


def lacks_precision(path: Path, wanted: str, found: str) -> EngineError:
    """The error for an IR in a precision that this CPU does not have: OpenVINO would silently use another."""
    return EngineError(
        f"`{path}` is to run in {wanted}, which this CPU does not have: OpenVINO would use {found}",
        hint=f"run it on a CPU with {wanted}, or remove `{HINT}` from `{OPTIONS}` of its `rt_info`",
    )


def import_openvino() -> Any:
    """Import the openvino module, without the package with which it would report each import to its makers.

    Raises:
        DependencyError: it is not installed.
    """
    silence = "openvino" not in sys.modules and TELEMETRY not in sys.modules
    if silence:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # importing it fails; openvino then does without
    try:
        import openvino
    except ImportError as error:
        raise DependencyError("openvino", extra="openvino", purpose="running an OpenVINO IR") from error
    finally:
        if silence:
            sys.modules.pop(TELEMETRY, None)
    return openvino


def version(openvino: Any) -> str:
    """Version of OpenVINO without its build."""
    return str(openvino.get_version()).split("-", maxsplit=1)[0]


def reason(error: Exception) -> str:
    """The last line of OpenVINO's message, which says what failed; the lines before say where in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else first_line(error)
