"""The building half of the stand-in for TensorRT: a parser, a network and an inspector over the ONNX graph itself.

What it builds is the graph with its profile, so that a plan of it computes what ONNX Runtime computes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, ClassVar

import onnx
from onnx import TensorProto

TYPES = {
    TensorProto.FLOAT: "FLOAT",
    TensorProto.FLOAT16: "HALF",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.INT8: "INT8",
    TensorProto.FLOAT8E4M3FN: "FP8",
}
WORDS = {"FLOAT": "Float", "HALF": "Half", "BF16": "BF16", "INT8": "Int8", "FP8": "FP8"}
KINDS = {
    "MatMul": "MATRIX_MULTIPLY",
    "Gemm": "MATRIX_MULTIPLY",
    "Conv": "CONVOLUTION",
    "DequantizeLinear": "DEQUANTIZE",
    "Softmax": "SOFTMAX",
    "LayerNormalization": "NORMALIZATION",
    "Reshape": "SHUFFLE",
    "Transpose": "SHUFFLE",
}
TOLD: dict[str, dict[str, str]] = {
    "Greater": {"LayerType": "ElementWise", "Operation": "GREATER"},
    "Where": {"LayerType": "Select"},
    "TopK": {"LayerType": "TopK"},
    "Gather": {"LayerType": "Gather"},
}
"""What the inspector tells of layers that decide."""


class Network:
    """A parsed graph as layers."""

    def __init__(self) -> None:
        self.data = b""
        self.layers: list[SimpleNamespace] = []
        self.inputs: list[SimpleNamespace] = []
        self.marked: list[str] = []

    def read(self, path: Path) -> None:
        self.data = path.read_bytes()
        model = onnx.load(str(path))
        graph = onnx.shape_inference.infer_shapes(model).graph
        values = (*graph.input, *graph.output, *graph.value_info)
        types = {value.name: value.type.tensor_type.elem_type for value in values}
        types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
        self.inputs = [
            SimpleNamespace(
                name=value.name, shape=tuple(dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim)
            )
            for value in graph.input
        ]
        self.layers = [self.layer(node, types) for node in graph.node]

    def layer(self, node: onnx.NodeProto, types: Mapping[str, int]) -> SimpleNamespace:
        def tensor(name: str) -> SimpleNamespace:
            return SimpleNamespace(name=name, dtype=f"DataType.{TYPES.get(types.get(name, 0), 'INT64')}")

        outputs = [SimpleNamespace(**vars(tensor(name)), is_network_output=False) for name in node.output]
        return SimpleNamespace(
            name=node.name,
            metadata=f"[ONNX Layer: {node.name}]",
            type=KINDS.get(node.op_type, "OTHER"),
            told=TOLD.get(node.op_type),
            num_outputs=len(outputs),
            get_input=lambda index: tensor(node.input[index]),
            get_output=lambda index: outputs[index],
        )

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    def get_layer(self, index: int) -> SimpleNamespace:
        return self.layers[index]

    def get_input(self, index: int) -> SimpleNamespace:
        return self.inputs[index]

    def mark_output(self, tensor: SimpleNamespace) -> None:
        tensor.is_network_output = True
        self.marked.append(tensor.name)


class Config:
    """Flags, limits and timings of a build."""

    def __init__(self) -> None:
        self.flags, self.limits = {"TF32"}, dict[str, int]()
        self.profiling_verbosity = self.hardware_compatibility_level = ""
        self.timings, self.profile = b"", dict[str, tuple[tuple[int, ...], ...]]()

    def set_flag(self, flag: str) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: str) -> None:
        self.flags.discard(flag)

    def get_flag(self, flag: str) -> bool:
        return flag in self.flags

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self.limits[pool] = size

    def create_timing_cache(self, data: bytes) -> Timings:
        return Timings(data)

    def set_timing_cache(self, cache: Timings, ignore_mismatch: bool) -> bool:
        self.timings = cache.data
        return True

    def get_timing_cache(self) -> Timings:
        return Timings(self.timings or b"timings")

    def add_optimization_profile(self, profile: Profile) -> int:
        self.profile = profile.shapes
        return 0


class Timings:
    """A timing cache."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> bytes:
        return self.data


class Profile:
    """An optimisation profile."""

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[tuple[int, ...], ...]] = {}

    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        self.shapes[name] = shapes


class Builder:
    """Builds a plan of the stand-in; one MiB is never enough."""

    def __init__(self, log: Any) -> None:
        self.log = log

    def create_network(self, flags: int) -> Network:
        assert flags == 1 << Creation.STRONGLY_TYPED
        return Network()

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        from host_trt import host_plan

        if config.limits.get("workspace", 1 << 40) <= 1 << 20:
            self.log.log(1, "Error Code 2: OutOfMemory (Requested size was 123456 bytes.)")
            return None
        low, best, high = (shape[0] for shape in config.profile["x"])
        return host_plan(network.data, (low, best, high), outputs=network.marked)


class Parser:
    """Reads an ONNX file into a network."""

    num_errors = 0

    def __init__(self, network: Network, log: Any) -> None:
        self.network = network

    def parse_from_file(self, path: str) -> bool:
        self.network.read(Path(path))
        return True


class Creation(IntEnum):
    """Flags of a network."""

    STRONGLY_TYPED = 1


class Flag:
    """Builder flags by name, each its own value."""

    __members__: ClassVar = {
        name: name for name in ("TF32", "VERSION_COMPATIBLE", "EDITABLE_TIMING_CACHE", "ERROR_ON_TIMING_CACHE_MISS")
    }
    TF32 = "TF32"
    VERSION_COMPATIBLE = "VERSION_COMPATIBLE"
    EDITABLE_TIMING_CACHE = "EDITABLE_TIMING_CACHE"
    ERROR_ON_TIMING_CACHE_MISS = "ERROR_ON_TIMING_CACHE_MISS"


def inspector_json(graph: bytes, told_as: Mapping[str, str] | None = None) -> str:
    """What the engine inspector of TensorRT 10 would say; `told_as` makes it say another type for one."""
    network = Network()
    with TemporaryDirectory() as folder:
        path = Path(folder, "graph.onnx")
        path.write_bytes(graph)
        network.read(path)
    words = {**WORDS, **(told_as or {})}

    def tensors(layer: SimpleNamespace) -> Iterator[dict[str, Any]]:
        dtype = layer.get_input(0).dtype.rpartition(".")[2]
        maker = next((m for m in network.layers if m.get_output(0).name == layer.get_input(0).name), None)
        if maker is not None and maker.type == "DEQUANTIZE":
            dtype = maker.get_input(0).dtype.rpartition(".")[2]
        yield {"Name": layer.get_input(0).name, "Format/Datatype": words.get(dtype, dtype)}

    layers = [
        {"Name": layer.name, "Inputs": list(tensors(layer)), "Outputs": [], "Metadata": layer.metadata}
        for layer in network.layers
        if layer.type in ("MATRIX_MULTIPLY", "CONVOLUTION")
    ]
    layers += [
        {"Name": layer.name, "Inputs": [], "Outputs": [], "Metadata": layer.metadata, **layer.told}
        for layer in network.layers
        if layer.told is not None
    ]
    return json.dumps({"Layers": layers, "Bindings": ["x", "z"]})


def building(module: Any) -> Any:
    """Add what building takes to the stand-in's module."""
    module.Builder, module.OnnxParser = Builder, Parser
    module.NetworkDefinitionCreationFlag, module.BuilderFlag = Creation, Flag
    module.LayerType = SimpleNamespace(**{kind: kind for kind in set(KINDS.values()) | {"CAST", "IDENTITY"}})
    module.ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")
    module.MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    module.HardwareCompatibilityLevel = SimpleNamespace(AMPERE_PLUS="ampere")
    module.ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user")
    module.LayerInformationFormat = SimpleNamespace(JSON="json")
    return module
