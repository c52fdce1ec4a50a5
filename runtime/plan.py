"""One plan opened for running: refused in words where it does not belong, hashed, one stream, fixed buffers."""

from __future__ import annotations

import ctypes
import re
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import EngineError
from advcal_edge.runtime.cuda import DEVICE_TO_DEVICE, DEVICE_TO_HOST, HOST_TO_DEVICE, Cuda
from advcal_edge.runtime.device_array import ANY, DeviceArray
from advcal_edge.runtime.engine_file import EngineFile
from advcal_edge.runtime.exporting import export_command
from advcal_edge.runtime.plan_card import Device, read_card
from advcal_edge.runtime.ports import FLOAT, Port
from advcal_edge.runtime.products import Product, collecting_log, find_product

ALIGNMENT = 256  # of an address that a plan reads from
HOST_CODE = re.compile("host.?code|lean runtime", re.IGNORECASE)  # in the words in which TensorRT refuses it
CAPTURES = 4  # batch sizes that get a CUDA graph; each takes an execution context with memory of its own

Floats = NDArray[np.float32]


class Plan:
    """A deserialised plan with its buffers; several threads take turns."""

    def __init__(
        self,
        engine: str | Path | EngineFile,
        *,
        product: Product | None = None,
        cuda: Cuda | None = None,
        cuda_graph: bool = False,
        allow_plan_code: bool = False,
    ) -> None:
        """Open a plan, if its card does not speak against it, and reserve memory for its largest batch.

        With `allow_plan_code` a plan that carries code for the host is opened, which executes it: a version-compatible
        plan does. Whether it carries any, TensorRT says of the plan; what lies beside it is not asked.

        Raises:
            EngineError: unreadable, from another product, version or device, changed, or too large for the device.
            DependencyError: the product or the CUDA runtime is not installed.
        """
        file = EngineFile.of(engine)
        path = file.path
        self.path, self.sha256, self.card = path, file.sha256, read_card(path)
        if self.card is not None and self.card.sha256 != self.sha256:
            raise EngineError(
                f"`{path}` is not the plan its card speaks of: sha256 is {self.sha256[:12]}, the card says"
                f" {self.card.sha256[:12]}",
                hint=f"build it again: {export_command(path, '--trt')}",
            )
        self.product = product or find_product("tensorrt" if self.card is None else self.card.product)
        self.cuda = cuda or Cuda()
        self.device = Device(self.cuda.device_name(), self.cuda.compute_capability())
        why = self.card.misfit(self.product, self.device) if self.card is not None else None
        if why is not None:
            raise EngineError(
                f"plan `{path}` cannot run here: {why}", hint=f"build it here: {export_command(path, '--trt')}"
            )
        self._engine = self._deserialise(file.data, allow_plan_code)
        self.inputs, self.outputs = self._ports()
        self._largest = self._profile_end(2)
        self._smallest = self._profile_end(0)
        self._context = self._new_context()
        self._stream = self.cuda.stream()
        self._captured: dict[int, tuple[Any, int]] | None = {} if cuda_graph else None
        self._reserve()
        self._turn = Lock()

    @property
    def largest(self) -> int:
        """Samples a run at most, as its profile says."""
        return self._largest

    @property
    def precision(self) -> str:
        """What it was built in; `custom` where no card says it."""
        return "custom" if self.card is None else self.card.achieved

    @property
    def fingerprint(self) -> str:
        """Product, version, device and hash."""
        return f"{self.product} {self.device.name} sha256:{self.sha256[:12]}"

    def run(self, feeds: Mapping[str, Floats | DeviceArray], *, reuse: bool = False) -> list[Floats]:
        """All outputs named in `outputs` for at most `largest` samples, in fresh arrays unless `reuse`.

        With `reuse` they are views of pinned memory, which the next run overwrites.

        Raises:
            EngineError: the device fails, or runs out of memory.
        """
        count = next(iter(feeds.values())).shape[0]
        with self._turn:
            self.cuda.activate()
            padded = max(count, self._smallest)
            for name, values in feeds.items():
                self._feed(name, values, padded)
            self._execute(padded)
            for port in self.outputs:
                self.cuda.copy(
                    self._pinned[port.name],
                    self._device[port.name],
                    self._bytes(port, padded),
                    DEVICE_TO_HOST,
                    self._stream,
                )
            self.cuda.wait(self._stream)
            views = [self._view(port, padded)[:count] for port in self.outputs]
            return views if reuse else [view.copy() for view in views]

    def misfit(self, expected: str) -> EngineError:
        """The error for a plan whose inputs or outputs are not the expected ones."""
        ports = f"{', '.join(map(str, self.inputs))} -> {', '.join(map(str, self.outputs))}"
        return EngineError(
            f"plan `{self.path}` is {ports}; expected {expected}",
            hint=f"use the bundle this plan was built from, or build it again: {export_command(self.path, '--trt')}",
        )

    def stream(self) -> int:
        """Where everything runs, for makers of device arrays that wait for it."""
        return self._stream

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
                hint=f"build it here: {export_command(self.path, '--trt')}; if memory ran out, a smaller `--batch`",
            )
        return engine

    def _ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        """Inputs and the float32 outputs; outputs that were added only to break fusions stay inside."""
        module, engine = self.product.module, self._engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        ports: dict[bool, list[Port]] = {True: [], False: []}
        for name in names:
            reads = engine.get_tensor_mode(name) == module.TensorIOMode.INPUT
            kind = engine.get_tensor_dtype(name)
            shape = tuple("n" if size < 0 else int(size) for size in engine.get_tensor_shape(name))
            ports[reads].append(Port(name, FLOAT if kind == module.DataType.FLOAT else str(kind), shape))
        wanted = {"z", "g"} & {port.name for port in ports[False]}
        self._spare = [port.name for port in ports[False] if wanted and port.name not in wanted]
        return tuple(ports[True]), tuple(port for port in ports[False] if port.name not in self._spare)

    def _profile_end(self, which: int) -> int:
        """The batch at the smallest (0) or largest (2) end of the profile."""
        return min(
            (int(self._engine.get_tensor_profile_shape(port.name, 0)[which][0]) for port in self.inputs), default=1
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
        self._shape(self._context, self._largest)
        names = [port.name for port in (*self.inputs, *self.outputs)] + self._spare
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
                f"no room for {self._largest} samples of the plan `{self.path}`: {error.message}", hint=error.hint
            ) from error

    def _shape(self, context: Any, count: int) -> None:
        for port in self.inputs:
            self._set_shape(context, port.name, tuple(count if size == "n" else size for size in port.shape))

    def _set_shape(self, context: Any, name: str, shape: tuple[Any, ...]) -> None:
        if not context.set_input_shape(name, shape):
            reason = next(iter(self._log.errors), "it gives no reason")
            raise EngineError(f"plan `{self.path}` does not take `{name}` {shape}: {reason}")

    def _tensor_bytes(self, name: str) -> int:
        shape = tuple(int(size) for size in self._context.get_tensor_shape(name))
        return int(np.ceil(np.prod(shape) * self._engine.get_tensor_dtype(name).itemsize))  # int4 has half a byte

    def _bytes(self, port: Port, count: int) -> int:
        return int(np.prod(self._full_shape(port, count))) * 4

    def _full_shape(self, port: Port, count: int) -> tuple[int, ...]:
        shape: Sequence[int] = self._context.get_tensor_shape(port.name)
        return (count, *(int(size) for size in shape[1:]))

    def _view(self, port: Port, count: int) -> Floats:
        memory = (ctypes.c_byte * self._bytes(port, count)).from_address(self._pinned[port.name])
        return np.frombuffer(memoryview(memory), np.float32).reshape(self._full_shape(port, count))

    def _feed(self, name: str, values: Floats | DeviceArray, padded: int) -> None:
        """Put an input where the plan reads it; what lies on the device, well aligned and complete, stays there."""
        port = next(port for port in self.inputs if port.name == name)
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
            self.cuda.copy(own, values.address, self._bytes(port, count), DEVICE_TO_DEVICE, self._stream)
        else:
            view = self._view(port, padded)
            view[:count] = values
            view[count:] = values[-1:]  # a profile that begins above one sample is filled up
            self.cuda.copy(own, self._pinned[name], self._bytes(port, padded), HOST_TO_DEVICE, self._stream)
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
            for port in self.inputs:
                context.set_tensor_address(port.name, self._device[port.name])
            self._enqueue(context)  # the first run of a context allocates, which cannot be recorded
            self.cuda.wait(self._stream)
            self.cuda.begin_capture(self._stream)
            self._enqueue(context)
            captured[count] = (context, self.cuda.end_capture(self._stream))
            self._launchables.append(captured[count][1])

    def _bind(self, context: Any) -> None:
        for name in (*(port.name for port in self.outputs), *self._spare):
            context.set_tensor_address(name, self._device[name])

    def _enqueue(self, context: Any) -> None:
        if not context.execute_async_v3(self._stream):
            reason = next(iter(self._log.errors), "it gives no reason")
            raise EngineError(f"plan `{self.path}` failed on {self.device}: {reason}")


def give_back(
    cuda: Cuda, stream: int, launchables: Sequence[int], device: Mapping[str, int], pinned: Mapping[str, int]
) -> None:
    """Free what a plan held; no run is under way, since each waits for its end."""
    cuda.give_back("cudaGraphExecDestroy", launchables)
    cuda.give_back("cudaStreamDestroy", [stream])
    cuda.give_back("cudaFree", device.values())
    cuda.give_back("cudaFreeHost", pinned.values())
