"""Execution of one opened plan: a stream, buffers for the largest batch, CUDA graphs of the first batch sizes."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends import Feeds, Floats
from advcal_edge.runtime.backends.cuda import DEVICE_TO_DEVICE, DEVICE_TO_HOST, HOST_TO_DEVICE, Cuda
from advcal_edge.runtime.backends.device_array import ANY, DeviceArray
from advcal_edge.runtime.backends.tensor_io import TensorSignature
from advcal_edge.runtime.metadata import Device

ALIGNMENT = 256  # of an address that a plan reads from
CAPTURES = 4  # batch sizes that get a CUDA graph; each needs an execution context with its own memory


class Place(NamedTuple):
    """Path of a plan, its device, and the log with TensorRT's errors, for messages."""

    path: Path
    device: Device
    log: Any

    @property
    def reason(self) -> str:
        """The first error in the log."""
        return str(next(iter(self.log.errors), "it gives no reason"))


class Execution:
    """Runs a TensorRT engine; not thread-safe."""

    def __init__(
        self,
        engine: Any,
        cuda: Cuda,
        place: Place,
        inputs: Sequence[TensorSignature],
        outputs: Sequence[TensorSignature],
        spare: Sequence[str],
        *,
        cuda_graph: bool,
    ) -> None:
        """Allocate memory for the largest batch of the profile, including the outputs named in `spare`.

        Raises:
            EngineError: not enough memory on the device.
        """
        self._engine, self._cuda, self._place = engine, cuda, place
        self._inputs, self._outputs, self._spare = inputs, outputs, spare
        self.largest, self._smallest = self._profile_end(2), self._profile_end(0)
        self._context = self._new_context()
        self.stream = cuda.stream()
        self._captured: dict[int, tuple[Any, int]] | None = {} if cuda_graph else None
        self._reserve()

    def run(self, feeds: Feeds) -> list[Floats]:
        """All outputs for at most `largest` samples, as views of pinned memory that the next run overwrites.

        Raises:
            EngineError: the device fails, or runs out of memory.
        """
        count = len(next(iter(feeds.values())))
        padded = max(count, self._smallest)
        self._cuda.activate()
        for name, values in feeds.items():
            self._feed(name, values, padded)
        self._execute(padded)
        for output in self._outputs:
            size = self._bytes(output, padded)
            self._cuda.copy(self._pinned[output.name], self._device[output.name], size, DEVICE_TO_HOST, self.stream)
        self._cuda.wait(self.stream)
        return [self._view(output, padded)[:count] for output in self._outputs]

    def _profile_end(self, which: int) -> int:
        """The smallest (0) or largest (2) batch of the profile."""
        return min(
            (int(self._engine.get_tensor_profile_shape(tensor.name, 0)[which][0]) for tensor in self._inputs), default=1
        )

    def _new_context(self) -> Any:
        context = self._engine.create_execution_context()
        if context is None:
            raise EngineError(
                f"{self._place.device} has no memory for the plan `{self._place.path}`: {self._place.reason}",
                hint="build it with a smaller `--batch`",
            )
        return context

    def _reserve(self) -> None:
        """Allocate memory for the largest batch, on the device and pinned on the host; freed with the plan."""
        self._shape(self._context, self.largest)
        names = [tensor.name for tensor in (*self._inputs, *self._outputs)] + [*self._spare]
        sizes = {name: self._tensor_bytes(name) for name in names}
        self._device: dict[str, int] = {}
        self._pinned: dict[str, int] = {}
        self._launchables: list[int] = []
        weakref.finalize(self, give_back, self._cuda, self.stream, self._launchables, self._device, self._pinned)
        try:
            for name, size in sizes.items():
                self._device[name] = self._cuda.allocate(size)
                if name not in self._spare:
                    self._pinned[name] = self._cuda.allocate_pinned(size)
        except EngineError as error:
            raise EngineError(
                f"no room for {self.largest} samples of the plan `{self._place.path}`: {error.message}", hint=error.hint
            ) from error

    def _shape(self, context: Any, count: int) -> None:
        for tensor in self._inputs:
            self._set_shape(context, tensor.name, tuple(count if size == "n" else size for size in tensor.shape))

    def _set_shape(self, context: Any, name: str, shape: tuple[Any, ...]) -> None:
        if not context.set_input_shape(name, shape):
            raise EngineError(f"plan `{self._place.path}` does not take `{name}` {shape}: {self._place.reason}")

    def _tensor_bytes(self, name: str) -> int:
        shape = tuple(int(size) for size in self._context.get_tensor_shape(name))
        return int(np.ceil(np.prod(shape) * self._engine.get_tensor_dtype(name).itemsize))  # int4 takes half a byte

    def _bytes(self, tensor: TensorSignature, count: int) -> int:
        return int(np.prod(self._full_shape(tensor, count))) * np.dtype(tensor.type).itemsize

    def _full_shape(self, tensor: TensorSignature, count: int) -> tuple[int, ...]:
        shape: Sequence[int] = self._context.get_tensor_shape(tensor.name)
        return (count, *(int(size) for size in shape[1:]))

    def _view(self, tensor: TensorSignature, count: int) -> Floats:
        memory = (ctypes.c_byte * self._bytes(tensor, count)).from_address(self._pinned[tensor.name])
        return np.frombuffer(memoryview(memory), tensor.type).reshape(self._full_shape(tensor, count))

    def _feed(self, name: str, values: Floats | DeviceArray, padded: int) -> None:
        """Copy an input to where the plan reads it; an aligned, complete array on the device stays there."""
        tensor = next(tensor for tensor in self._inputs if tensor.name == name)
        count = values.shape[0]
        self._set_shape(self._context, name, (padded, *values.shape[1:]))
        own = self._device[name]
        if isinstance(values, DeviceArray):
            if values.stream == ANY:
                self._cuda.wait_for_all()
            elif values.stream is not None:
                self._cuda.wait(values.stream)
            # a recorded graph reads from a fixed address, so the array is copied on the device
            if self._captured is None and count == padded and values.address % ALIGNMENT == 0:
                self._context.set_tensor_address(name, values.address)
                return
            self._cuda.copy(own, values.address, self._bytes(tensor, count), DEVICE_TO_DEVICE, self.stream)
        else:
            view = self._view(tensor, padded)
            view[:count] = values
            view[count:] = values[-1:]  # padding for a profile that begins above one sample
            self._cuda.copy(own, self._pinned[name], self._bytes(tensor, padded), HOST_TO_DEVICE, self.stream)
        self._context.set_tensor_address(name, own)

    def _execute(self, count: int) -> None:
        captured = self._captured
        if captured is not None and count in captured:
            self._cuda.launch(captured[count][1], self.stream)
            return
        self._bind(self._context)
        self._enqueue(self._context)
        if captured is not None and len(captured) < CAPTURES:
            context = self._new_context()  # one per graph, since it records the shapes too
            self._shape(context, count)
            self._bind(context)
            for tensor in self._inputs:
                context.set_tensor_address(tensor.name, self._device[tensor.name])
            self._enqueue(context)  # the first run of a context allocates memory, which cannot be recorded
            self._cuda.wait(self.stream)
            self._cuda.begin_capture(self.stream)
            self._enqueue(context)
            captured[count] = (context, self._cuda.end_capture(self.stream))
            self._launchables.append(captured[count][1])

    def _bind(self, context: Any) -> None:
        for name in (*(tensor.name for tensor in self._outputs), *self._spare):
            context.set_tensor_address(name, self._device[name])

    def _enqueue(self, context: Any) -> None:
        if not context.execute_async_v3(self.stream):
            raise EngineError(f"plan `{self._place.path}` failed on {self._place.device}: {self._place.reason}")


def give_back(
    cuda: Cuda, stream: int, launchables: Sequence[int], device: Mapping[str, int], pinned: Mapping[str, int]
) -> None:
    """Free the resources of a plan; no run is in progress, since each run waits for its end."""
    cuda.give_back("cudaGraphExecDestroy", launchables)
    cuda.give_back("cudaStreamDestroy", [stream])
    cuda.give_back("cudaFree", device.values())
    cuda.give_back("cudaFreeHost", pinned.values())
