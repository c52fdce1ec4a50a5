"""The few calls of the CUDA runtime that running a plan takes: through cuda-python, or straight to libcudart."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from advcal_edge.errors import DependencyError, EngineError

HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE = 1, 2, 3
MAJOR, MINOR = 75, 76  # cudaDevAttrComputeCapabilityMajor and Minor
RELAXED = 2  # capture mode: other threads may go on allocating
NON_BLOCKING = 1  # a stream that does not wait for the default one

OUT_OF_MEMORY, NO_DRIVER, NO_DEVICE = 2, 35, 100

Outputs = Mapping[str, tuple[type[Any], ...]]
OUTPUTS: Outputs = {
    "cudaGetDeviceCount": (ctypes.c_int,),
    "cudaDriverGetVersion": (ctypes.c_int,),
    "cudaDeviceGetAttribute": (ctypes.c_int,),
    "cudaMemGetInfo": (ctypes.c_size_t, ctypes.c_size_t),
    "cudaMalloc": (ctypes.c_void_p,),
    "cudaHostAlloc": (ctypes.c_void_p,),
    "cudaStreamCreateWithFlags": (ctypes.c_void_p,),
    "cudaGraphInstantiate": (ctypes.c_void_p,),
    "cudaStreamEndCapture": (ctypes.c_void_p,),
}
"""What a function returns through pointers, which come first; in `OUTPUTS_LAST` they come last."""
OUTPUTS_LAST = frozenset({"cudaStreamEndCapture"})

ENUMS: Mapping[tuple[str, int], str] = {
    ("cudaMemcpyAsync", 3): "cudaMemcpyKind",
    ("cudaDeviceGetAttribute", 0): "cudaDeviceAttr",
    ("cudaStreamBeginCapture", 1): "cudaStreamCaptureMode",
}
"""Arguments that cuda-python wants as its own enumerations."""


class Backend(Protocol):
    """One way to reach the CUDA runtime."""

    def invoke(self, name: str, *arguments: int) -> tuple[int, tuple[int, ...]]:
        """Call a function; its error code, and what it returned through pointers."""
        ...

    def explain(self, code: int) -> str:
        """An error code in CUDA's words."""
        ...

    def device_name(self, index: int) -> str:
        """What the device calls itself; empty where it cannot be asked."""
        ...


class Bindings:
    """Through `cuda.bindings.runtime` of cuda-python."""

    def __init__(self) -> None:
        from cuda.bindings import runtime

        self._cudart = runtime

    def invoke(self, name: str, *arguments: int) -> tuple[int, tuple[int, ...]]:
        """See `Backend`."""
        typed = [
            getattr(self._cudart, ENUMS[name, place])(argument) if (name, place) in ENUMS else argument
            for place, argument in enumerate(arguments)
        ]
        code, *outputs = getattr(self._cudart, name)(*typed)
        return int(code), tuple(0 if output is None else int(output) for output in outputs)

    def explain(self, code: int) -> str:
        """See `Backend`."""
        _, text = self._cudart.cudaGetErrorString(self._cudart.cudaError_t(code))
        return str(text.decode() if isinstance(text, bytes) else text)

    def device_name(self, index: int) -> str:
        """See `Backend`."""
        code, properties = self._cudart.cudaGetDeviceProperties(index)
        name = properties.name if int(code) == 0 else b""
        return str(name.decode() if isinstance(name, bytes) else name).strip("\0 ")


class Library:
    """Through libcudart itself, where cuda-python is not installed: on a Jetson, or beside a CUDA build of torch."""

    def __init__(self) -> None:
        for name in library_names():
            try:
                self._cudart = ctypes.CDLL(name)
            except OSError:
                continue
            self._cudart.cudaGetErrorString.restype = ctypes.c_char_p
            return
        raise DependencyError("cuda-python", extra="trt", purpose="running a plan")

    def invoke(self, name: str, *arguments: int) -> tuple[int, tuple[int, ...]]:
        """See `Backend`."""
        outputs = [kind() for kind in OUTPUTS.get(name, ())]
        pointers = [ctypes.byref(output) for output in outputs]
        # every argument of these functions is a pointer, a size, or a small number: all pass as one machine word
        words = [ctypes.c_size_t(argument) for argument in arguments]
        ordered = [*words, *pointers] if name in OUTPUTS_LAST else [*pointers, *words]
        code = getattr(self._cudart, name)(*ordered)
        return int(code), tuple(output.value or 0 for output in outputs)

    def explain(self, code: int) -> str:
        """See `Backend`."""
        return str(self._cudart.cudaGetErrorString(code).decode())

    def device_name(self, index: int) -> str:
        """See `Backend`."""
        # the structure differs between versions; in all of them it begins with the name, and none has 8 kB
        properties = ctypes.create_string_buffer(8192)
        function = getattr(self._cudart, "cudaGetDeviceProperties_v2", None) or self._cudart.cudaGetDeviceProperties
        return properties.value.decode() if function(properties, index) == 0 else ""


def library_names() -> Iterator[str]:
    """Where libcudart may be: known to the loader, in CUDA's own folder, or in a wheel."""
    found = ctypes.util.find_library("cudart")
    yield from [found] if found else []
    yield from (f"libcudart.so{version}" for version in (".13", ".12", ""))
    yield from map(str, sorted(Path("/usr/local/cuda").glob("lib64/libcudart.so*")))
    spec = find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        yield from map(str, sorted(Path(folder).glob("*/lib/libcudart.so.*")))


class Cuda:
    """The CUDA runtime of this process; every failure is an error in words."""

    def __init__(self, backend: Backend | None = None) -> None:
        """Find a way to the runtime.

        Raises:
            DependencyError: neither cuda-python nor libcudart is there.
            EngineError: no driver, or no device.
        """
        self._backend = backend or find_backend()
        code, values = self._backend.invoke("cudaGetDeviceCount")
        if code or not values[0]:
            reason = self._backend.explain(code) if code else "it counts no device"
            raise EngineError(
                f"no CUDA device can be used here: {reason}", hint="run this on the device, or use an ONNX engine"
            )

    def call(self, name: str, *arguments: int) -> tuple[int, ...]:
        """Call one function of the runtime; what it returned through pointers.

        Raises:
            EngineError: it failed.
        """
        code, outputs = self._backend.invoke(name, *arguments)
        if code == OUT_OF_MEMORY:
            raise EngineError(
                f"the device is out of memory: {name} of {arguments[0] if arguments else 0} bytes",
                hint="build the plan with a smaller `--batch`",
            )
        if code:
            raise EngineError(f"{name} failed: {self._backend.explain(code)}")
        return outputs

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
        (launchable,) = self.call("cudaGraphInstantiate", graph, 0)
        self.call("cudaGraphDestroy", graph)
        return launchable

    def launch(self, launchable: int, stream: int) -> None:
        """Do what was recorded."""
        self.call("cudaGraphLaunch", launchable, stream)

    def free(self, addresses: Sequence[int], pinned: Sequence[int] = ()) -> None:
        """Give memory back; a device that is gone already has nothing to give."""
        for address in addresses:
            self._backend.invoke("cudaFree", address)
        for address in pinned:
            self._backend.invoke("cudaFreeHost", address)

    def device_name(self) -> str:
        """What the device calls itself."""
        return self._backend.device_name(0)

    def compute_capability(self) -> tuple[int, int]:
        """Like (8, 7) for Orin."""
        return self.call("cudaDeviceGetAttribute", MAJOR, 0)[0], self.call("cudaDeviceGetAttribute", MINOR, 0)[0]

    def free_memory(self) -> int:
        """Bytes of the device that nobody uses."""
        return self.call("cudaMemGetInfo")[0]


def find_backend() -> Backend:
    """cuda-python where it is installed, else libcudart.

    Raises:
        DependencyError: neither is there.
    """
    try:
        return Bindings()
    except ImportError:
        return Library()
