"""The few calls of the CUDA runtime that running a plan takes; every failure is an error in words."""

from __future__ import annotations

from collections.abc import Iterable

from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends.cuda_library import CudaLibrary, count_devices, find_library

HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE = 1, 2, 3
MAJOR, MINOR = 75, 76  # cudaDevAttrComputeCapabilityMajor and Minor
RELAXED = 2  # capture mode: other threads may go on allocating
NON_BLOCKING = 1  # a stream that does not wait for the default one

OUT_OF_MEMORY = 2
ALLOCATORS = frozenset({"cudaMalloc", "cudaHostAlloc"})


class Cuda:
    """The CUDA runtime of this process; every failure is an error in words."""

    def __init__(self, library: CudaLibrary | None = None) -> None:
        """Find a way to the runtime.

        Raises:
            DependencyError: neither cuda-python nor libcudart is there.
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
        """Make the device that was current at the beginning this thread's: each thread has its own choice."""
        self.call("cudaSetDevice", self.device)

    def call(self, name: str, *arguments: int) -> tuple[int, ...]:
        """Call one function of the runtime; what it returned through pointers.

        Raises:
            EngineError: it failed.
        """
        code, outputs = self._library.invoke(name, *arguments)
        if not code:
            return outputs
        self._library.invoke("cudaGetLastError")  # else whoever shares the runtime, torch say, would meet it next
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
        """Address of `size` bytes on the host that the device copies without help."""
        return self.call("cudaHostAlloc", size, 0)[0]

    def copy(self, target: int, source: int, size: int, kind: int, stream: int) -> None:
        """Copy `size` bytes as soon as `stream` gets there."""
        self.call("cudaMemcpyAsync", target, source, size, kind, stream)

    def stream(self) -> int:
        """A stream of its own."""
        return self.call("cudaStreamCreateWithFlags", NON_BLOCKING)[0]

    def wait(self, stream: int) -> None:
        """Return when `stream` has done everything."""
        self.call("cudaStreamSynchronize", stream)

    def begin_capture(self, stream: int) -> None:
        """Record what is put on `stream` from here on instead of doing it."""
        self.call("cudaStreamBeginCapture", stream, RELAXED)

    def end_capture(self, stream: int) -> int:
        """What was recorded, ready to be launched."""
        (graph,) = self.call("cudaStreamEndCapture", stream)
        try:
            return self.call("cudaGraphInstantiateWithFlags", graph, 0)[0]
        finally:
            self.call("cudaGraphDestroy", graph)

    def launch(self, launchable: int, stream: int) -> None:
        """Do what was recorded."""
        self.call("cudaGraphLaunch", launchable, stream)

    def wait_for_all(self) -> None:
        """Return when the device has done everything, whoever asked for it."""
        self.call("cudaDeviceSynchronize")

    def give_back(self, name: str, handles: Iterable[int]) -> None:
        """Free or destroy handles with the function `name`; what is gone already, as at exit, cannot fail."""
        for handle in handles:
            self._library.invoke(name, handle)

    def device_name(self) -> str:
        """What the device calls itself."""
        return self._library.device_name(self.device)

    def compute_capability(self) -> tuple[int, int]:
        """Like (8, 7) for Orin."""
        return (
            self.call("cudaDeviceGetAttribute", MAJOR, self.device)[0],
            self.call("cudaDeviceGetAttribute", MINOR, self.device)[0],
        )
