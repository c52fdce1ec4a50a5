"""The few calls of the CUDA runtime that plans need; every failure raises an error with a readable message."""

from __future__ import annotations

from collections.abc import Iterable

from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends.cuda_library import CudaLibrary, count_devices, find_library

HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE = 1, 2, 3
MAJOR, MINOR = 75, 76  # cudaDevAttrComputeCapabilityMajor and Minor
RELAXED = 2  # capture mode: other threads may allocate
NON_BLOCKING = 1  # a stream that does not wait for the default one

OUT_OF_MEMORY = 2
ALLOCATORS = frozenset({"cudaMalloc", "cudaHostAlloc"})


class Cuda:
    """The CUDA runtime of this process; every failure raises an error with a readable message."""

    def __init__(self, library: CudaLibrary | None = None) -> None:
        """Find the runtime library.

        Raises:
            DependencyError: neither cuda-python nor libcudart is installed.
            EngineError: no driver, or no device.
        """
        self._library = library or find_library()
        code, count = count_devices(self._library)
        if code or not count:
            reason = self._library.explain(code) if code else "it counts no device"
            raise EngineError(
                f"no CUDA device can be used here: {reason}", hint="run this on the device, or use an ONNX engine"
            )
        (self.device,) = self.call("cudaGetDevice")

    def activate(self) -> None:
        """Select the device that was current at the beginning; every thread has its own selection."""
        self.call("cudaSetDevice", self.device)

    def call(self, name: str, *arguments: int) -> tuple[int, ...]:
        """Call one function of the runtime, and return its outputs.

        Raises:
            EngineError: it failed.
        """
        code, outputs = self._library.invoke(name, *arguments)
        if not code:
            return outputs
        self._library.invoke("cudaGetLastError")  # clears it, since torch, for example, would see it next
        if code == OUT_OF_MEMORY:
            wanted = f"{arguments[0]} bytes" if name in ALLOCATORS else name
            raise EngineError(
                f"the device is out of memory: {wanted} wanted", hint="build the plan with a smaller `--batch`"
            )
        raise EngineError(f"{name} failed: {self._library.explain(code)}")

    def allocate(self, size: int) -> int:
        """Address of `size` bytes on the device."""
        return self.call("cudaMalloc", size)[0]

    def allocate_pinned(self, size: int) -> int:
        """Address of `size` bytes of pinned host memory."""
        return self.call("cudaHostAlloc", size, 0)[0]

    def copy(self, target: int, source: int, size: int, kind: int, stream: int) -> None:
        """Enqueue a copy of `size` bytes on `stream`."""
        self.call("cudaMemcpyAsync", target, source, size, kind, stream)

    def stream(self) -> int:
        """Create a stream."""
        return self.call("cudaStreamCreateWithFlags", NON_BLOCKING)[0]

    def wait(self, stream: int) -> None:
        """Wait until `stream` is idle."""
        self.call("cudaStreamSynchronize", stream)

    def begin_capture(self, stream: int) -> None:
        """Record the work on `stream` from here on instead of running it."""
        self.call("cudaStreamBeginCapture", stream, RELAXED)

    def end_capture(self, stream: int) -> int:
        """The recorded work, ready to launch."""
        (graph,) = self.call("cudaStreamEndCapture", stream)
        try:
            return self.call("cudaGraphInstantiateWithFlags", graph, 0)[0]
        finally:
            self.call("cudaGraphDestroy", graph)

    def launch(self, launchable: int, stream: int) -> None:
        """Run the recorded work."""
        self.call("cudaGraphLaunch", launchable, stream)

    def wait_for_all(self) -> None:
        """Wait until the device is idle, including work of other callers."""
        self.call("cudaDeviceSynchronize")

    def give_back(self, name: str, handles: Iterable[int]) -> None:
        """Free or destroy handles with the function `name`; errors, as at exit, are ignored."""
        for handle in handles:
            self._library.invoke(name, handle)

    def device_name(self) -> str:
        """The device's name."""
        return self._library.device_name(self.device)

    def compute_capability(self) -> tuple[int, int]:
        """Compute capability, like (8, 7) for Orin."""
        return (
            self.call("cudaDeviceGetAttribute", MAJOR, self.device)[0],
            self.call("cudaDeviceGetAttribute", MINOR, self.device)[0],
        )
