"""A stand-in for a GPU with TensorRT, on memory of the host: what runs a plan here is ONNX Runtime.

The real product needs a driver to open a plan. This one obeys the same rules where they can be checked (alignment,
profiles, every tensor bound before a run, copies inside what was allocated, graphs replay what was recorded), so that
everything around the device is exercised for real. Nothing measured with it is a result about TensorRT.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from host_builder import building, inspector_json

from advcal_edge.runtime.metadata import Device, EngineMetadata, metadata_path
from advcal_edge.storage import sha256_bytes

MAGIC = b"host plan\n"
NAME, CAPABILITY = "Host Orin", (8, 7)
VERSION = (10, 3, 0)
NO_CODE = "Cannot deserialize engine with lean runtime since IRuntime::getEngineHostCodeAllowed() is false."
ALL = -7  # in `waited`: the whole device


@dataclass
class HostGpu:
    """Stands for the library of the CUDA runtime: allocations are counted, copies outside of them are refused."""

    memory: int = 1 << 40
    blocks: dict[int, ctypes.Array[ctypes.c_char]] = field(default_factory=dict)
    addresses: dict[int, int] = field(default_factory=dict)
    recording: list[Callable[[], object]] | None = None
    graphs: dict[int, list[Callable[[], object]]] = field(default_factory=dict)
    launches: int = 0
    current: int = -1
    waited: list[int] = field(default_factory=list)
    wrong_where_fused: bool = False  # forward plans without extra outputs return the opposite
    executed: list[str] = field(default_factory=list)  # code that plans brought
    told_as: dict[str, str] = field(default_factory=dict)  # types that the inspector calls by another name

    def invoke(self, name: str, *arguments: int) -> tuple[int, tuple[int, ...]]:
        found: tuple[int, tuple[int, ...]] = getattr(self, name)(*arguments)
        return found

    def explain(self, code: int) -> str:
        return f"error {code}"

    def device_name(self, index: int) -> str:
        return NAME

    def cudaGetDeviceCount(self) -> tuple[int, tuple[int, ...]]:  # noqa: N802  # CUDA's names
        return 0, (1,)

    def cudaDeviceGetAttribute(self, attribute: int, device: int) -> tuple[int, tuple[int, ...]]:  # noqa: N802
        return 0, ({75: CAPABILITY[0], 76: CAPABILITY[1]}[attribute],)

    def cudaMalloc(self, size: int) -> tuple[int, tuple[int, ...]]:  # noqa: N802
        if sum(len(block) for block in self.blocks.values()) + size > self.memory:
            return 2, ()
        block = ctypes.create_string_buffer(size + 512)
        address = (ctypes.addressof(block) + 255) // 256 * 256
        self.blocks[address], self.addresses[address] = block, size
        return 0, (address,)

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[int, tuple[int, ...]]:  # noqa: N802
        return self.cudaMalloc(size)

    def cudaFree(self, address: int) -> tuple[int, tuple[int, ...]]:  # noqa: N802
        del self.blocks[address], self.addresses[address]
        return 0, ()

    def cudaGetDevice(self) -> tuple[int, tuple[int, ...]]:  # noqa: N802
        return 0, (0,)

    def cudaSetDevice(self, device: int) -> tuple[int, tuple[int, ...]]:  # noqa: N802
        self.current = device
        return 0, ()

    def cudaGetLastError(self) -> tuple[int, tuple[int, ...]]:  # noqa: N802
        return 0, ()

    def cudaStreamDestroy(self, stream: int) -> tuple[int, tuple[int, ...]]:  # noqa: N802
        return 0, ()

    def cudaGraphExecDestroy(self, graph: int) -> tuple[int, tuple[int, ...]]:  # noqa: N802
        del self.graphs[graph]
        return 0, ()

    def cudaDeviceSynchronize(self) -> tuple[int, tuple[int, ...]]:  # noqa: N802
        self.waited.append(ALL)
        return 0, ()

    cudaFreeHost = cudaFree  # noqa: N815

    def cudaMemcpyAsync(  # noqa: N802
        self, target: int, source: int, size: int, kind: int, stream: int
    ) -> tuple[int, tuple[int, ...]]:
        assert any(start <= target and target + size <= start + have for start, have in self.addresses.items())
        assert stream == 7
        self.do(lambda: ctypes.memmove(target, source, size))
        return 0, ()

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[int, tuple[int, ...]]:  # noqa: N802
        return 0, (7,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[int, tuple[int, ...]]:  # noqa: N802
        self.waited.append(stream)
        return 0, ()

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[int, tuple[int, ...]]:  # noqa: N802
        self.recording = []
        return 0, ()

    def cudaStreamEndCapture(self, stream: int) -> tuple[int, tuple[int, ...]]:  # noqa: N802
        key, self.recording = self.store(self.recording or []), None
        return 0, (key,)

    def cudaGraphInstantiateWithFlags(self, graph: int, flags: int) -> tuple[int, tuple[int, ...]]:  # noqa: N802
        return 0, (self.store(self.graphs[graph]),)

    def cudaGraphDestroy(self, graph: int) -> tuple[int, tuple[int, ...]]:  # noqa: N802
        del self.graphs[graph]
        return 0, ()

    def cudaGraphLaunch(self, graph: int, stream: int) -> tuple[int, tuple[int, ...]]:  # noqa: N802
        self.launches += 1
        for step in self.graphs[graph]:
            step()
        return 0, ()

    def store(self, steps: list[Callable[[], object]]) -> int:
        key = max(self.graphs, default=0) + 1
        self.graphs[key] = steps
        return key

    def do(self, step: Callable[[], object]) -> None:
        if self.recording is not None:
            self.recording.append(step)
        else:
            step()


KINDS = {"tensor(float)": "FLOAT", "tensor(float16)": "HALF", "tensor(uint8)": "UINT8"}
NUMPY = {"FLOAT": np.float32, "HALF": np.float16, "UINT8": np.uint8}


class Kind(str):
    """A data type with the size that TensorRT's have."""

    __slots__ = ()

    @property
    def itemsize(self) -> int:
        return np.dtype(NUMPY[self]).itemsize


class HostEngine:
    """A deserialised plan."""

    def __init__(self, gpu: HostGpu, profile: Sequence[int], graph: bytes, extra: Sequence[str]) -> None:
        self.gpu, self.profile, self.graph = gpu, tuple(profile), graph
        self.session = ort.InferenceSession(with_outputs(graph, extra), providers=["CPUExecutionProvider"])
        self.inputs = {port.name: port.shape for port in self.session.get_inputs()}
        self.outputs = {port.name: port.shape for port in self.session.get_outputs()}
        ports = (*self.session.get_inputs(), *self.session.get_outputs())
        self.kinds = {port.name: Kind(KINDS[port.type]) for port in ports}
        self.names = [*self.inputs, *self.outputs]
        self.seen: dict[tuple[tuple[str, tuple[int, ...]], ...], dict[str, tuple[int, ...]]] = {}
        self.fused = not extra and "v" not in self.inputs
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_mode(self, name: str) -> str:
        return "input" if name in self.inputs else "output"

    def get_tensor_dtype(self, name: str) -> Kind:
        return self.kinds[name]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(size if isinstance(size, int) else -1 for size in {**self.inputs, **self.outputs}[name])

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        return [(size, *self.get_tensor_shape(name)[1:]) for size in self.profile]

    def output_shapes(self, inputs: tuple[tuple[str, tuple[int, ...]], ...]) -> dict[str, tuple[int, ...]]:
        if inputs not in self.seen:
            feeds = {name: np.zeros(shape, NUMPY[self.kinds[name]]) for name, shape in inputs}
            values = self.session.run(None, feeds)
            self.seen[inputs] = {n: value.shape for n, value in zip(self.outputs, values, strict=True)}
        return self.seen[inputs]

    def create_execution_context(self, strategy: str = "static") -> HostContext:
        return HostContext(self)

    def create_engine_inspector(self) -> SimpleNamespace:
        return SimpleNamespace(get_engine_information=lambda form: inspector_json(self.graph, self.gpu.told_as))


class HostContext:
    """Shapes and addresses of one run."""

    def __init__(self, engine: HostEngine) -> None:
        self.engine = engine
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.bound: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        assert self.engine.profile[0] <= shape[0] <= self.engine.profile[2], f"{shape} is outside of the profile"
        self.shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self.shapes:
            return self.shapes[name]
        return self.engine.output_shapes(tuple(self.shapes.items()))[name]

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert address % 256 == 0, "an address of a tensor must be aligned to 256 bytes"
        self.bound[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        if set(self.bound) != set(self.engine.names) or set(self.shapes) != set(self.engine.inputs):
            return False
        bound, shapes = dict(self.bound), {name: self.get_tensor_shape(name) for name in self.engine.names}

        def step() -> None:
            kinds = self.engine.kinds
            feeds = {name: view(bound[name], shapes[name], kinds[name]).copy() for name in self.engine.inputs}
            broken = self.engine.gpu.wrong_where_fused and self.engine.fused
            for name, value in zip(self.engine.outputs, self.engine.session.run(None, feeds), strict=True):
                view(bound[name], shapes[name], kinds[name])[:] = -value if broken else value

        self.engine.gpu.do(step)
        return True


def with_outputs(graph: bytes, names: Sequence[str]) -> bytes:
    """The graph with more of its values as outputs."""
    if not names:
        return graph
    model = onnx.load_from_string(graph)
    inferred = onnx.shape_inference.infer_shapes(model).graph
    model.graph.output.extend(value for value in inferred.value_info if value.name in names)
    return bytes(model.SerializeToString())


def view(address: int, shape: tuple[int, ...], kind: Kind) -> np.ndarray[Any, np.dtype[Any]]:
    """The memory at an address as numbers of a kind."""
    size = int(np.prod(shape)) * kind.itemsize
    memory = memoryview((ctypes.c_byte * size).from_address(address))
    return np.frombuffer(memory, NUMPY[kind]).reshape(shape)


def host_module(gpu: HostGpu) -> Any:
    """What `import tensorrt` gives."""

    class ILogger:
        ERROR = 1

    class Runtime:
        def __init__(self, log: Any) -> None:
            self.log = log
            self.engine_host_code_allowed = False

        def deserialize_cuda_engine(self, data: bytes) -> HostEngine | None:
            if not data.startswith(MAGIC):
                self.log.log(1, "Serialization assertion magicTag failed")
                return None
            head, _, graph = data[len(MAGIC) :].partition(b"\n")
            profile, extra, *code = json.loads(head)
            if code:
                if not self.engine_host_code_allowed:
                    self.log.log(1, NO_CODE)
                    return None
                gpu.executed += code
            return HostEngine(gpu, profile, graph, extra)

    found = ModuleType("tensorrt")
    found.__spec__ = ModuleSpec("tensorrt", None)  # others look whether it is installed
    modes = SimpleNamespace(INPUT="input", OUTPUT="output")
    kinds = SimpleNamespace(**{name: Kind(name) for name in NUMPY})
    version = ".".join(map(str, VERSION))
    vars(found).update(__version__=version, ILogger=ILogger, Runtime=Runtime, TensorIOMode=modes, DataType=kinds)
    return building(found)


def host_plan(
    graph: bytes, profile: tuple[int, int, int] = (1, 4, 8), outputs: Sequence[str] = (), code: str = ""
) -> bytes:
    """A plan that the stand-in opens; `outputs` are returned beside those of the graph, `code` is executed."""
    return MAGIC + json.dumps([profile, list(outputs), *([code] if code else [])]).encode() + b"\n" + graph


def host_metadata(
    plan: bytes, graph: bytes, precision: str = "fp16", kind: str = "forward", **changes: Any
) -> EngineMetadata:
    """The metadata of a plan of the stand-in."""
    told: dict[str, Any] = {
        "sha256": sha256_bytes(plan),
        "bytes": len(plan),
        "kind": kind,
        "graph": f"onnx/{kind}.{precision}.onnx",
        "graph_sha256": sha256_bytes(graph),
        "product": "tensorrt",
        "version": VERSION,
        "device": Device(NAME, CAPABILITY),
        "targets": (),
        "hardware": "none",
        "version_compatible": False,
        "profiles": {},
        "flags": (),
        "memory": None,
        "timing_cache": None,
        "precision": precision,
        "achieved": precision,
        "evidence": "engine",
        "layers": {},
        "step": None,
        "unfused": False,
        "seconds": 1.0,
    }
    return EngineMetadata(**{**told, **changes})


def write_plan(
    path: Path, graph: bytes, profile: tuple[int, int, int] = (1, 4, 8), code: str = "", **changes: Any
) -> Path:
    """A plan and its metadata on disk."""
    data = host_plan(graph, profile, code=code)
    path.write_bytes(data)
    metadata_path(path).write_text(json.dumps(host_metadata(data, graph, **changes).to_json()))
    return path


@contextmanager
def host_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostGpu]:
    """This process has a device and TensorRT for a while."""
    gpu = HostGpu()
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", host_module(gpu))
    monkeypatch.setattr("advcal_edge.runtime.backends.cuda.find_library", lambda: gpu)
    yield gpu
