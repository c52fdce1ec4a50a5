"""One ONNX file opened for running: the bytes that were hashed are the bytes that run, where it was asked to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import DependencyError, EngineError, first_line
from advcal_edge.limits import GRAPH_NODES
from advcal_edge.runtime.engine_file import EngineFile, weights_beside
from advcal_edge.runtime.exporting import export_command
from advcal_edge.runtime.first_run import run_bounded
from advcal_edge.runtime.graph_check import check_graph
from advcal_edge.runtime.ports import Port

Optimization = Literal["basic", "all"]
FOLDER_OF_WEIGHTS = "session.model_external_initializers_file_folder_path"
NOWHERE = "/nonexistent"
EXPANSION = "session.function_expansion_node_limit"
FORMAT = "session.load_model_format"
EXACT_INT8 = "session.x64quantprecision"
"""On x86 without VNNI, sums of int8 products saturate at 16 bits unless this is asked for: a coarser function."""
PROVIDER_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "CUDAExecutionProvider": {"use_tf32": "0"}  # on by default, and then fp32 products keep 10 bits of 23
}
BF16_LABEL = b"advcal_edge.precision\x12\x04bf16"
"""How protobuf writes our label of a bf16 graph: asked of the bytes, since a graph that fails to load has no labels."""
SILENT = 4
LEVELS: Mapping[str, str] = {"basic": "ORT_ENABLE_BASIC", "all": "ORT_ENABLE_ALL"}


class Graph:
    """An ONNX Runtime session with its provenance; safe to run from several threads."""

    def __init__(
        self,
        engine: str | Path | EngineFile,
        *,
        optimization: Optimization,
        threads: int | None,
        providers: Sequence[str],
    ) -> None:
        """Load a graph from its path, or from the bytes that were read of it.

        Raises:
            EngineError: missing, unreadable, no ONNX graph, or a provider that this machine does not offer.
            DependencyError: onnxruntime is not installed.
        """
        ort = import_onnxruntime()
        check_providers(providers, ort.get_available_providers())
        options = ort.SessionOptions()
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, LEVELS[optimization])
        options.log_severity_level = SILENT  # what goes wrong is raised; a library does not print it as well
        if threads is not None:
            options.intra_op_num_threads = threads
        file = EngineFile.of(engine)
        path = file.path
        check_graph(file)
        options.add_session_config_entry(FORMAT, "ONNX")  # and nothing that only looks like it
        options.add_session_config_entry(EXACT_INT8, "1")
        options.add_session_config_entry(EXPANSION, str(GRAPH_NODES.value))
        try:
            # weights may be in the graph or in the one file beside it; both run from the bytes hashed here, and a graph
            # that names any other file finds nothing
            options.add_session_config_entry(FOLDER_OF_WEIGHTS, NOWHERE)
            if file.weights is not None:
                name = weights_beside(path).name
                options.add_external_initializers_from_files_in_memory([name], [file.weights], [len(file.weights)])
            # without `enable_fallback=0` a failing accelerator would be replaced by the CPU after a mere print
            named = [(name, dict(PROVIDER_OPTIONS.get(name, {}))) for name in providers]
            self.session = run_bounded(
                lambda: ort.InferenceSession(file.data, options, providers=named, enable_fallback=0),
                lambda: cancel_loading(options),
                f"loading `{path}`",
            )
        except EngineError:
            raise
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            if BF16_LABEL in file.data and not set(providers) - {"CPUExecutionProvider"}:
                raise needs_gpu(path) from error
            raise EngineError(
                f"`{path}` is no ONNX graph that onnxruntime {ort.__version__} can load: {first_line(error)}",
                hint=f"export again: {export_command(path)}",
            ) from error
        check_providers(providers, self.session.get_providers())
        self._has_run = False
        self.path, self.sha256 = path, file.sha256
        self.provider: str = self.session.get_providers()[0]
        self.fingerprint = f"onnxruntime {ort.__version__} {self.provider} {optimization} sha256:{self.sha256[:12]}"
        told = self.session.get_modelmeta().custom_metadata_map
        self.precision = label(told.get("advcal_edge.precision")) or "custom"
        self.step = label(told.get("advcal_edge.step"))  # of the ladder, where one was climbed
        self.inputs = tuple(Port(p.name, p.type, tuple(p.shape)) for p in self.session.get_inputs())
        self.outputs = tuple(Port(p.name, p.type, tuple(p.shape)) for p in self.session.get_outputs())
        self._names = [port.name for port in self.outputs]  # spares the session to ask for them at every call

    def run(self, feeds: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """All outputs, in freshly allocated arrays.

        Raises:
            EngineError: the graph fails on these inputs.
        """
        try:
            found: list[NDArray[np.float32]] = (
                self.session.run(self._names, feeds) if self._has_run else self._run_first(feeds)
            )
        except EngineError:
            raise
        except Exception as error:  # as above: no common base class
            shapes = ", ".join(f"{name} {value.shape}" for name, value in feeds.items())
            raise EngineError(f"`{self.path}` failed on {shapes}: {first_line(error)}") from error
        return found

    def _run_first(self, feeds: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """The first run, which may end in nothing but an error: a graph can loop for ever, or take all memory."""
        options = import_onnxruntime().RunOptions()
        options.log_severity_level = SILENT
        outputs: list[NDArray[np.float32]] = run_bounded(
            lambda: self.session.run(self._names, feeds, options),
            lambda: setattr(options, "terminate", True),
            f"the first run of `{self.path}`",
        )
        self._has_run = True
        return outputs

    def misfit(self, expected: str) -> EngineError:
        """The error for a graph whose inputs or outputs are not the expected ones."""
        ports = f"{', '.join(map(str, self.inputs))} -> {', '.join(map(str, self.outputs))}"
        return EngineError(
            f"graph `{self.path}` is {ports}; expected {expected}",
            hint=f"use the bundle this engine was exported from, or export again: {export_command(self.path)}",
        )


def label(text: str | None) -> str | None:
    """What a graph says of itself, where it can serve as a name; None for anything that no export writes."""
    return text if text and text.isprintable() and len(text) <= 64 else None


def cancel_loading(options: Any) -> None:
    """Tell a session that is being made to stop; versions before 1.21 cannot be told."""
    if hasattr(options, "set_load_cancellation_flag"):
        options.set_load_cancellation_flag(True)


def needs_gpu(path: Path) -> EngineError:
    """The error for a bf16 graph on a CPU."""
    return EngineError(
        f"`{path}` is a bf16 graph, and bf16 needs a GPU: onnxruntime has no bfloat16 products on a CPU",
        hint=f"build it with TensorRT on the device: {export_command(path, '--trt --precision bf16')}; here use another"
        " precision, like `--engine fp16`",
    )


def import_onnxruntime() -> Any:
    """The onnxruntime module.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise DependencyError("onnxruntime", extra="cpu", purpose="running an exported graph") from error
    return onnxruntime


def check_providers(wanted: Sequence[str], available: Sequence[str]) -> None:
    """Refuse to run elsewhere than asked.

    Raises:
        EngineError: a provider is not available.
    """
    missing = [name for name in wanted if name not in available]
    if missing or not wanted:
        raise EngineError(
            f"execution provider {', '.join(f'`{name}`' for name in missing) or 'none'} is not available;"
            f" this onnxruntime offers {', '.join(f'`{name}`' for name in available)}",
            hint="for CUDA: pip uninstall onnxruntime, then pip install 'advcal-edge[gpu]'",
        )
