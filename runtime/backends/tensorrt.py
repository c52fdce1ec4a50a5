"""Plans in TensorRT and TensorRT-RTX: refused in words where they do not belong, one stream, fixed buffers."""

from __future__ import annotations

import ctypes
import re
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends import Backend, Feeds, Floats, OpenOptions
from advcal_edge.runtime.backends.cuda import DEVICE_TO_DEVICE, DEVICE_TO_HOST, HOST_TO_DEVICE, Cuda
from advcal_edge.runtime.backends.device_array import ANY, DeviceArray, find_device_array
from advcal_edge.runtime.backends.tensor_io import FLOAT, TensorSignature
from advcal_edge.runtime.backends.trt_api import Product, collecting_log, find_product
from advcal_edge.runtime.engine_file import EngineFile, export_command
from advcal_edge.runtime.metadata import Device, EngineMetadata, metadata_path, read_metadata

ALIGNMENT = 256  # of an address that a plan reads from
HOST_CODE = re.compile("host.?code|lean runtime", re.IGNORECASE)  # in the words in which TensorRT refuses it
CAPTURES = 4  # batch sizes that get a CUDA graph; each takes an execution context with memory of its own


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
        """Open a plan whose metadata allow it, and reserve memory for its largest batch.

        With `cuda_graph` the work of a batch size is recorded once and replayed. With `reuse` the arrays returned lie
        in pinned memory that the next run overwrites. With `allow_plan_code` a plan that carries code for the host is
        opened, which executes it: a version-compatible plan does. Whether it carries any, TensorRT says of the plan;
        what lies beside it is not asked.

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
        self._engine = self._deserialise(file.data, allow_plan_code)
        self.inputs, self.outputs = self._signatures()
        self.largest = self._profile_end(2)
        self._smallest = self._profile_end(0)
        self._context = self._new_context()
        self._stream = self.cuda.stream()
        self._captured: dict[int, tuple[Any, int]] | None = {} if cuda_graph else None
        self._reuse = reuse
        self._reserve()
        self._turn = Lock()

    def run(self, feeds: Feeds) -> list[Floats]:
        """All outputs for at most `largest` samples, in fresh arrays unless it was opened with `reuse`.

        Raises:
            EngineError: the device fails, or runs out of memory.
        """
        count = len(next(iter(feeds.values())))
        with self._turn:
            self.cuda.activate()
            padded = max(count, self._smallest)
            for name, values in feeds.items():
                self._feed(name, values, padded)
            self._execute(padded)
            for output in self.outputs:
                self.cuda.copy(
                    self._pinned[output.name],
                    self._device[output.name],
                    self._bytes(output, padded),
                    DEVICE_TO_HOST,
                    self._stream,
                )
            self.cuda.wait(self._stream)
            views = [self._view(output, padded)[:count] for output in self.outputs]
            return views if self._reuse else [view.copy() for view in views]

    def device_array(self, x: object) -> DeviceArray | None:
        """`x` where it lies on the CUDA device of the plan, ready for its stream; None for an array of the host.

        Raises:
            InputError: on another device, or neither float32 nor contiguous.
        """
        return find_device_array(x, self._stream, self.cuda.device)

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

    def _signatures(self) -> tuple[tuple[TensorSignature, ...], tuple[TensorSignature, ...]]:
        """Inputs and the float32 outputs; outputs that were added only to break fusions stay inside."""
        module, engine = self.product.module, self._engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        tensors: dict[bool, list[TensorSignature]] = {True: [], False: []}
        for name in names:
            reads = engine.get_tensor_mode(name) == module.TensorIOMode.INPUT
            kind = engine.get_tensor_dtype(name)
            shape = tuple("n" if size < 0 else int(size) for size in engine.get_tensor_shape(name))
            tensors[reads].append(TensorSignature(name, FLOAT if kind == module.DataType.FLOAT else str(kind), shape))
        wanted = {"z", "g"} & {tensor.name for tensor in tensors[False]}
        self._spare = [tensor.name for tensor in tensors[False] if wanted and tensor.name not in wanted]
        return tuple(tensors[True]), tuple(tensor for tensor in tensors[False] if tensor.name not in self._spare)

    def _profile_end(self, which: int) -> int:
        """The batch at the smallest (0) or largest (2) end of the profile."""
        return min(
            (int(self._engine.get_tensor_profile_shape(tensor.name, 0)[which][0]) for tensor in self.inputs), default=1
        )

    def _new_context(self) -> Any:
        context = self._engine.create_execution_context()
        if context is None:
            reason = next(iter(self._log.errors), "it gives no reason")
            raise EngineError(
                f"{self.device} has no memory for the plan `{self.path}`: {reason}",
                hint="build it with a smaller `--batch`",
            )
        return context

    def _reserve(self) -> None:
        """Memory for the largest batch, on the device and pinned on the host; given back when the plan is forgotten."""
        self._shape(self._context, self.largest)
        names = [tensor.name for tensor in (*self.inputs, *self.outputs)] + self._spare
        sizes = {name: self._tensor_bytes(name) for name in names}
        self._device: dict[str, int] = {}
        self._pinned: dict[str, int] = {}
        self._launchables: list[int] = []
        weakref.finalize(self, give_back, self.cuda, self._stream, self._launchables, self._device, self._pinned)
        try:
            for name, size in sizes.items():
                self._device[name] = self.cuda.allocate(size)
                if name not in self._spare:
                    self._pinned[name] = self.cuda.allocate_pinned(size)
        except EngineError as error:
            raise EngineError(
                f"no room for {self.largest} samples of the plan `{self.path}`: {error.message}", hint=error.hint
            ) from error

    def _shape(self, context: Any, count: int) -> None:
        for tensor in self.inputs:
            self._set_shape(context, tensor.name, tuple(count if size == "n" else size for size in tensor.shape))

    def _set_shape(self, context: Any, name: str, shape: tuple[Any, ...]) -> None:
        if not context.set_input_shape(name, shape):
            reason = next(iter(self._log.errors), "it gives no reason")
            raise EngineError(f"plan `{self.path}` does not take `{name}` {shape}: {reason}")

    def _tensor_bytes(self, name: str) -> int:
        shape = tuple(int(size) for size in self._context.get_tensor_shape(name))
        return int(np.ceil(np.prod(shape) * self._engine.get_tensor_dtype(name).itemsize))  # int4 has half a byte

    def _bytes(self, tensor: TensorSignature, count: int) -> int:
        return int(np.prod(self._full_shape(tensor, count))) * 4

    def _full_shape(self, tensor: TensorSignature, count: int) -> tuple[int, ...]:
        shape: Sequence[int] = self._context.get_tensor_shape(tensor.name)
        return (count, *(int(size) for size in shape[1:]))

    def _view(self, tensor: TensorSignature, count: int) -> Floats:
        memory = (ctypes.c_byte * self._bytes(tensor, count)).from_address(self._pinned[tensor.name])
        return np.frombuffer(memoryview(memory), np.float32).reshape(self._full_shape(tensor, count))

    def _feed(self, name: str, values: Floats | DeviceArray, padded: int) -> None:
        """Put an input where the plan reads it; what lies on the device, well aligned and complete, stays there."""
        tensor = next(tensor for tensor in self.inputs if tensor.name == name)
        count = values.shape[0]
        self._set_shape(self._context, name, (padded, *values.shape[1:]))
        own = self._device[name]
        if isinstance(values, DeviceArray):
            if values.stream == ANY:
                self.cuda.wait_for_all()
            elif values.stream is not None:
                self.cuda.wait(values.stream)
            # a recorded graph reads from one address: there the array is copied, on the device
            if self._captured is None and count == padded and values.address % ALIGNMENT == 0:
                self._context.set_tensor_address(name, values.address)
                return
            self.cuda.copy(own, values.address, self._bytes(tensor, count), DEVICE_TO_DEVICE, self._stream)
        else:
            view = self._view(tensor, padded)
            view[:count] = values
            view[count:] = values[-1:]  # a profile that begins above one sample is filled up
            self.cuda.copy(own, self._pinned[name], self._bytes(tensor, padded), HOST_TO_DEVICE, self._stream)
        self._context.set_tensor_address(name, own)

    def _execute(self, count: int) -> None:
        captured = self._captured
        if captured is not None and count in captured:
            self.cuda.launch(captured[count][1], self._stream)
            return
        self._bind(self._context)
        self._enqueue(self._context)
        if captured is not None and len(captured) < CAPTURES:
            context = self._new_context()  # one for each graph: shapes are part of what it records
            self._shape(context, count)
            self._bind(context)
            for tensor in self.inputs:
                context.set_tensor_address(tensor.name, self._device[tensor.name])
            self._enqueue(context)  # the first run of a context allocates, which cannot be recorded
            self.cuda.wait(self._stream)
            self.cuda.begin_capture(self._stream)
            self._enqueue(context)
            captured[count] = (context, self.cuda.end_capture(self._stream))
            self._launchables.append(captured[count][1])

    def _bind(self, context: Any) -> None:
        for name in (*(tensor.name for tensor in self.outputs), *self._spare):
            context.set_tensor_address(name, self._device[name])

    def _enqueue(self, context: Any) -> None:
        if not context.execute_async_v3(self._stream):
            reason = next(iter(self._log.errors), "it gives no reason")
            raise EngineError(f"plan `{self.path}` failed on {self.device}: {reason}")


def open_plan(file: EngineFile, options: OpenOptions) -> TensorRTBackend:
    """Open a plan on the current CUDA device.

    Raises:
        EngineError: it cannot run here.
        DependencyError: the product or the CUDA runtime is not installed.
    """
    return TensorRTBackend(file, allow_plan_code=options.allow_plan_code)


def checked_metadata(file: EngineFile) -> EngineMetadata | None:
    """The metadata beside a plan; None where there are none.

    Raises:
        EngineError: they cannot be read, or are those of another plan.
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


def give_back(
    cuda: Cuda, stream: int, launchables: Sequence[int], device: Mapping[str, int], pinned: Mapping[str, int]
) -> None:
    """Free what a plan held; no run is under way, since each waits for its end."""
    cuda.give_back("cudaGraphExecDestroy", launchables)
    cuda.give_back("cudaStreamDestroy", [stream])
    cuda.give_back("cudaFree", device.values())
    cuda.give_back("cudaFreeHost", pinned.values())
