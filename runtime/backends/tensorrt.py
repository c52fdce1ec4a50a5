"""Plans in TensorRT and TensorRT-RTX: checked against this machine, and run by one thread at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends import Backend, Feeds, Floats, OpenOptions
from advcal_edge.runtime.backends.cuda import Cuda
from advcal_edge.runtime.backends.device_array import DeviceArray, find_device_array
from advcal_edge.runtime.backends.plan_execution import Execution, Place
from advcal_edge.runtime.backends.tensor_io import FLOAT, TensorSignature
from advcal_edge.runtime.backends.trt_api import Product, collecting_log, find_product
from advcal_edge.runtime.engine_file import EngineFile, export_command
from advcal_edge.runtime.metadata import Device, EngineMetadata, metadata_path, read_metadata

TYPES: Mapping[str, str] = {
    "FLOAT": FLOAT,
    "HALF": "float16",
    "UINT8": "uint8",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
}
"""NumPy's names of types, by TensorRT's."""
HOST_CODE = re.compile("host.?code|lean runtime", re.IGNORECASE)  # as in TensorRT's error message


class TensorRTBackend(Backend):
    """A deserialised plan with its buffers; several threads take turns."""

    kind = "plan"

    def __init__(
        self,
        engine: str | Path | EngineFile,
        *,
        product: Product | None = None,
        cuda: Cuda | None = None,
        cuda_graph: bool = False,
        reuse: bool = False,
        allow_plan_code: bool = False,
    ) -> None:
        """Open a plan whose metadata match this machine, and allocate memory for its largest batch.

        With `cuda_graph` the work of a batch size is recorded once and replayed. With `reuse` the arrays returned are
        in pinned memory that the next run overwrites. With `allow_plan_code` a plan may contain host code, which
        runs when the plan is loaded: version-compatible plans do. TensorRT detects such code in the plan; the metadata
        beside it are not trusted for this.

        Raises:
            EngineError: unreadable, from another product, version or device, changed, or too large for the device.
            DependencyError: the product or the CUDA runtime is not installed.
        """
        file = EngineFile.of(engine)
        self.path, self.sha256, self.metadata = file.path, file.sha256, checked_metadata(file)
        self.product = product or find_product("tensorrt" if self.metadata is None else self.metadata.product)
        self.cuda = cuda or Cuda()
        self.device = Device(self.cuda.device_name(), self.cuda.compute_capability())
        self.fingerprint = f"{self.product} {self.device.name} sha256:{self.sha256[:12]}"
        if self.metadata is not None:
            self.precision, self.step = self.metadata.achieved, self.metadata.step
            why = self.metadata.misfit(self.product, self.device)
            if why is not None:
                raise EngineError(f"plan `{self.path}` cannot run here: {why}", hint=built_here(self.path))
        opened = self._engine = self._deserialise(file.data, allow_plan_code)
        place = Place(self.path, self.device, self._log)
        self.inputs, self.outputs, spare = signatures(self.product.module, opened)
        self._execution = Execution(opened, self.cuda, place, self.inputs, self.outputs, spare, cuda_graph=cuda_graph)
        self.largest = self._execution.largest
        self._reuse = reuse
        self._turn = Lock()

    def run(self, feeds: Feeds) -> list[Floats]:
        """All outputs for at most `largest` samples, in new arrays unless opened with `reuse`.

        Raises:
            EngineError: the device fails, or runs out of memory.
        """
        with self._turn:
            views = self._execution.run(feeds)
            return views if self._reuse else [view.copy() for view in views]

    def device_array(self, x: object) -> DeviceArray | None:
        """`x` if it is on the CUDA device of the plan, ready for its stream; None for a host array.

        Raises:
            InputError: on another device, not float32, or not contiguous.
        """
        return find_device_array(x, self._execution.stream, self.cuda.device)

    def layers(self) -> str | None:
        """The engine inspector's JSON; its layers have names only, unless they were built to tell more."""
        inspector = self._engine.create_engine_inspector()
        return str(inspector.get_engine_information(self.product.module.LayerInformationFormat.JSON))

    def remake(self) -> str:
        """The command that builds the plan again."""
        return f"build it again: {export_command(self.path, '--trt')}"

    def _deserialise(self, data: bytes, allow_plan_code: bool) -> Any:
        module = self.product.module
        self._log = collecting_log(module)
        self._runtime = module.Runtime(self._log)
        self._runtime.engine_host_code_allowed = False
        engine = self._runtime.deserialize_cuda_engine(data)
        if engine is None and not allow_plan_code and any(HOST_CODE.search(line) for line in self._log.errors):
            raise EngineError(
                f"plan `{self.path}` carries code of the TensorRT that built it, which opening it would execute",
                hint="where you trust who built it as you would trust a program: `--allow-plan-code`",
            )
        if engine is None and allow_plan_code:
            self._log.errors.clear()
            self._runtime.engine_host_code_allowed = True
            engine = self._runtime.deserialize_cuda_engine(data)
        if engine is None:
            reason = next(iter(self._log.errors), "it gives no reason")
            raise EngineError(
                f"{self.product} on {self.device} cannot load the plan `{self.path}`: {reason}",
                hint=f"{built_here(self.path)}; if memory ran out, a smaller `--batch`",
            )
        return engine


def signatures(
    module: Any, engine: Any
) -> tuple[tuple[TensorSignature, ...], tuple[TensorSignature, ...], tuple[str, ...]]:
    """Inputs, outputs, and the names of internal outputs, which were added only to prevent fusion."""
    tensors: dict[bool, list[TensorSignature]] = {True: [], False: []}
    for name in (engine.get_tensor_name(index) for index in range(engine.num_io_tensors)):
        reads = engine.get_tensor_mode(name) == module.TensorIOMode.INPUT
        kind = engine.get_tensor_dtype(name)
        shape = tuple("n" if size < 0 else int(size) for size in engine.get_tensor_shape(name))
        tensors[reads].append(TensorSignature(name, type_name(module, kind), shape))
    wanted = {"z", "g"} & {tensor.name for tensor in tensors[False]}
    # others stay on the device: those that NumPy has no type for too
    wanted = wanted or {tensor.name for tensor in tensors[False] if tensor.type in TYPES.values()}
    spare = tuple(tensor.name for tensor in tensors[False] if wanted and tensor.name not in wanted)
    return tuple(tensors[True]), tuple(tensor for tensor in tensors[False] if tensor.name not in spare), spare


def type_name(module: Any, kind: Any) -> str:
    """NumPy's name of a type; TensorRT's own for one that NumPy lacks."""
    return next((name for own, name in TYPES.items() if kind == getattr(module.DataType, own, None)), str(kind))


def open_plan(file: EngineFile, options: OpenOptions) -> TensorRTBackend:
    """Open a plan on the current CUDA device.

    Raises:
        EngineError: it cannot run here.
        DependencyError: the product or the CUDA runtime is not installed.
    """
    return TensorRTBackend(file, allow_plan_code=options.allow_plan_code)


def checked_metadata(file: EngineFile) -> EngineMetadata | None:
    """The metadata beside a plan; None if there are none.

    Raises:
        EngineError: they cannot be read, or belong to another plan.
    """
    metadata = read_metadata(file.path)
    if metadata is not None and metadata.sha256 != file.sha256:
        raise EngineError(
            f"`{file.path}` is not the plan that `{metadata_path(file.path).name}` describes: its sha256 is"
            f" {file.sha256[:12]}; expected {metadata.sha256[:12]}",
            hint=f"build it again: {export_command(file.path, '--trt')}",
        )
    return metadata


def built_here(plan: Path) -> str:
    """The command that builds a plan for this machine, for hints."""
    return f"build it here: {export_command(plan, '--trt')}"
