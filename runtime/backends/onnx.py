"""ONNX graphs in ONNX Runtime: the bytes that were hashed are the bytes that run, on the requested provider."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from advcal_edge.errors import DependencyError, EngineError, first_line
from advcal_edge.limits import GRAPH_NODES
from advcal_edge.runtime.backends import Backend, Feeds, Floats, OpenOptions
from advcal_edge.runtime.backends.first_run import run_bounded
from advcal_edge.runtime.backends.graph_check import check_graph
from advcal_edge.runtime.backends.tensor_io import FLOAT, TensorSignature
from advcal_edge.runtime.engine_file import EngineFile, export_command

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
CHUNK = 64  # samples per run: limits the memory of activations, and larger runs are not faster on a CPU
Optimization = Literal["basic", "all"]
FOLDER_OF_WEIGHTS = "session.model_external_initializers_file_folder_path"
NOWHERE = "/nonexistent"
EXPANSION = "session.function_expansion_node_limit"
FORMAT = "session.load_model_format"
EXACT_INT8 = "session.x64quantprecision"
"""On x86 without VNNI, sums of int8 products saturate at 16 bits without this setting, which changes the function."""
PROVIDER_OPTIONS: Mapping[str, Mapping[str, str]] = {
    CUDA: {"use_tf32": "0"}  # on by default; fp32 products would then keep 10 of 23 mantissa bits
}
BF16_LABEL = b"advcal_edge.precision\x12\x04bf16"
"""Our label of a bf16 graph in protobuf encoding, searched in the bytes: a graph that fails to load has no labels."""
TYPES: Mapping[str, str] = {"float": FLOAT, "double": "float64"}
"""NumPy's names of types, by ONNX Runtime's, where the two differ."""
SILENT = 4
LEVELS: Mapping[str, str] = {"basic": "ORT_ENABLE_BASIC", "all": "ORT_ENABLE_ALL"}


class OnnxBackend(Backend):
    """A graph in an ONNX Runtime session; safe to run from several threads."""

    kind = "graph"

    def __init__(
        self,
        engine: str | Path | EngineFile,
        *,
        optimization: Optimization = "all",
        threads: int | None = None,
        providers: Sequence[str] = (CPU,),
        largest: int = CHUNK,
    ) -> None:
        """Load a graph from its path, or from bytes already read.

        Raises:
            EngineError: missing, unreadable, not an ONNX graph, or a provider that this machine does not have.
            DependencyError: onnxruntime is not installed.
        """
        ort = import_onnxruntime()
        check_providers(providers, ort.get_available_providers())
        file = EngineFile.of(engine)
        check_graph(file)
        self.session = load_session(ort, file, session_options(ort, file, optimization, threads), providers)
        check_providers(providers, self.session.get_providers())
        self._ended: set[int] = set()  # batch sizes whose first run has come to an end: loops may depend on the size
        self.path, self.sha256, self.largest = file.path, file.sha256, largest
        provider = self.session.get_providers()[0]
        self.fingerprint = f"onnxruntime {ort.__version__} {provider} {optimization} sha256:{self.sha256[:12]}"
        labels = self.session.get_modelmeta().custom_metadata_map
        self.precision = label(labels.get("advcal_edge.precision")) or "custom"
        self.step = label(labels.get("advcal_edge.step"))
        self.inputs = tuple(map(signature, self.session.get_inputs()))
        self.outputs = tuple(map(signature, self.session.get_outputs()))
        self._names = [output.name for output in self.outputs]  # otherwise the session looks them up in every call

    def run(self, feeds: Feeds) -> Sequence[Floats]:
        """All outputs, in freshly allocated arrays.

        Raises:
            EngineError: the graph fails on these inputs.
        """
        try:
            size = len(next(iter(feeds.values())))
            outputs: Sequence[Floats] = (
                self.session.run(self._names, feeds) if size in self._ended else self._run_first(feeds, size)
            )
        except EngineError:
            raise
        except Exception as error:  # onnxruntime's exceptions have no common base class
            shapes = ", ".join(f"{name} {value.shape}" for name, value in feeds.items())
            raise EngineError(f"`{self.path}` failed on {shapes}: {first_line(error)}") from error
        return outputs

    def bare(self, feeds: Feeds) -> object:
        """Run the session only."""
        outputs: object = self.session.run(None, feeds)
        return outputs

    def remake(self) -> str:
        """The command that exports the graph again."""
        return f"export again: {export_command(self.path)}"

    def _run_first(self, feeds: Feeds, size: int) -> Sequence[Floats]:
        """The first run of a batch size, with limits: a graph can loop for ever, or use all memory."""
        options = import_onnxruntime().RunOptions()
        options.log_severity_level = SILENT
        outputs: Sequence[Floats] = run_bounded(
            lambda: self.session.run(self._names, feeds, options),
            lambda: setattr(options, "terminate", True),
            f"the first run of `{self.path}`",
        )
        self._ended.add(size)
        return outputs


def open_graph(file: EngineFile, options: OpenOptions) -> OnnxBackend:
    """Open a graph on the first provider that works; a backward graph on the CPU unless another is named.

    Raises:
        EngineError: no provider can load it.
        DependencyError: onnxruntime is not installed.
    """
    # above `basic`, onnxruntime 1.32 crashes the process on FP16 gradients
    optimization: Optimization = "basic" if options.backward else options.optimization
    offered = (CPU,) if options.backward else offered_providers(options.verified_on) or (CPU,)
    *preferred, last = options.providers or offered
    for provider in preferred:
        try:
            return OnnxBackend(file, optimization=optimization, threads=options.threads, providers=(provider,))
        except EngineError:
            continue  # compiled in, but without a device or library; the fingerprint names the provider in use
    return OnnxBackend(file, optimization=optimization, threads=options.threads, providers=(last,))


def offered_providers(first: str | None = None) -> tuple[str, ...]:
    """Available CUDA and CPU providers: `first`, then the faster; none if ONNX Runtime is not installed.

    An available CUDA provider is compiled in; whether it works here only shows when a graph is opened.
    """
    try:
        available = import_onnxruntime().get_available_providers()
    except DependencyError:
        return ()
    return tuple(sorted((name for name in (CUDA, CPU) if name in available), key=lambda name: name != first))


def threads_of_environment() -> int | None:
    """Threads by `OMP_NUM_THREADS`, as torch reads it; None leaves the number to ONNX Runtime, which takes every core.

    Its threads spin while they wait, so processes that share cores each take twice the CPU time of one thread.
    """
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    valid = first.isascii() and first.isdigit() and len(first) < 5 and int(first) > 0
    return int(first) if valid else None


def session_options(ort: Any, file: EngineFile, optimization: Optimization, threads: int | None) -> Any:
    """Options of a session: no log output, exact arithmetic, and the weights that were hashed."""
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, LEVELS[optimization])
    options.log_severity_level = SILENT  # errors are raised; a library does not print them too
    count = threads or threads_of_environment()
    if count is not None:
        options.intra_op_num_threads = count
    options.add_session_config_entry(FORMAT, "ONNX")  # and no other format
    options.add_session_config_entry(EXACT_INT8, "1")
    options.add_session_config_entry(EXPANSION, str(GRAPH_NODES.value))
    # weights may be in the graph or in files beside it; all run from the bytes hashed here, and a graph that names any
    # other file does not load
    options.add_session_config_entry(FOLDER_OF_WEIGHTS, NOWHERE)
    return options


def load_session(ort: Any, file: EngineFile, options: Any, providers: Sequence[str]) -> Any:
    """Load the session within the limits of time and memory.

    Raises:
        EngineError: ONNX Runtime rejects the graph, or loading exceeds the limits.
    """
    try:
        if file.weights:
            contents = list(file.weights.values())
            options.add_external_initializers_from_files_in_memory(list(file.weights), contents, [*map(len, contents)])
        # without `enable_fallback=0` a failing accelerator would be replaced by the CPU with only a printed message
        named = [(name, dict(PROVIDER_OPTIONS.get(name, {}))) for name in providers]
        return run_bounded(
            lambda: ort.InferenceSession(file.data, options, providers=named, enable_fallback=0),
            lambda: cancel_loading(options),
            f"loading `{file.path}`",
        )
    except EngineError:
        raise
    except Exception as error:  # onnxruntime's exceptions have no common base class
        if BF16_LABEL in file.data and not set(providers) - {CPU}:
            raise needs_gpu(file.path) from error
        raise EngineError(
            f"`{file.path}` is no ONNX graph that onnxruntime {ort.__version__} can load: {first_line(error)}",
            hint=f"export again: {export_command(file.path)}",
        ) from error


def signature(node: Any) -> TensorSignature:
    """The signature of an input or output of a session."""
    kind = str(node.type)
    if kind.startswith("tensor(") and not kind.endswith("bfloat16)"):
        kind = kind[len("tensor(") : -1]
    return TensorSignature(node.name, TYPES.get(kind, kind), tuple(node.shape or ()))


def label(text: str | None) -> str | None:
    """A label from a graph's metadata; None if no export writes such a label."""
    return text if text and text.isprintable() and len(text) <= 64 else None


def cancel_loading(options: Any) -> None:
    """Cancel the loading of a session; not possible before version 1.21."""
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
    """Import the onnxruntime module.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise DependencyError("onnxruntime", extra="cpu", purpose="running an exported graph") from error
    return onnxruntime


def check_providers(wanted: Sequence[str], available: Sequence[str]) -> None:
    """Refuse to run on another provider than requested.

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
