"""Two ways to call the CUDA runtime: the bindings of cuda-python, or libcudart directly."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from advcal_edge.errors import DependencyError

NO_DRIVER = 35

Outputs = Mapping[str, tuple[type[Any], ...]]
OUTPUTS: Outputs = {
    "cudaGetDeviceCount": (ctypes.c_int,),
    "cudaGetDevice": (ctypes.c_int,),
    "cudaDriverGetVersion": (ctypes.c_int,),
    "cudaDeviceGetAttribute": (ctypes.c_int,),
    "cudaMemGetInfo": (ctypes.c_size_t, ctypes.c_size_t),
    "cudaMalloc": (ctypes.c_void_p,),
    "cudaHostAlloc": (ctypes.c_void_p,),
    "cudaStreamCreateWithFlags": (ctypes.c_void_p,),
    "cudaGraphInstantiateWithFlags": (ctypes.c_void_p,),
    "cudaStreamEndCapture": (ctypes.c_void_p,),
}
"""Outputs of a function, which are its first pointer arguments; in `OUTPUTS_LAST` they are the last."""
OUTPUTS_LAST = frozenset({"cudaStreamEndCapture"})

ENUMS: Mapping[tuple[str, int], str] = {
    ("cudaMemcpyAsync", 3): "cudaMemcpyKind",
    ("cudaDeviceGetAttribute", 0): "cudaDeviceAttr",
    ("cudaStreamBeginCapture", 1): "cudaStreamCaptureMode",
}
"""Arguments that cuda-python takes as its own enumerations."""


class CudaLibrary(Protocol):
    """One way to call the CUDA runtime."""

    def invoke(self, name: str, *arguments: int) -> tuple[int, tuple[int, ...]]:
        """Call a function; returns its error code and its outputs."""
        ...

    def explain(self, code: int) -> str:
        """CUDA's message for an error code."""
        ...

    def device_name(self, index: int) -> str:
        """The device's name; empty if it cannot be queried."""
        ...


class Bindings:
    """Through `cuda.bindings.runtime` of cuda-python."""

    def __init__(self) -> None:
        from cuda.bindings import runtime

        self._cudart = runtime

    def invoke(self, name: str, *arguments: int) -> tuple[int, tuple[int, ...]]:
        """See `CudaLibrary`."""
        typed = [
            getattr(self._cudart, ENUMS[name, place])(argument) if (name, place) in ENUMS else argument
            for place, argument in enumerate(arguments)
        ]
        code, *outputs = getattr(self._cudart, name)(*typed)
        return int(code), tuple(0 if output is None else int(output) for output in outputs)

    def explain(self, code: int) -> str:
        """See `CudaLibrary`."""
        _, text = self._cudart.cudaGetErrorString(self._cudart.cudaError_t(code))
        return str(text.decode() if isinstance(text, bytes) else text)

    def device_name(self, index: int) -> str:
        """See `CudaLibrary`."""
        code, properties = self._cudart.cudaGetDeviceProperties(index)
        name = properties.name if int(code) == 0 else b""
        return str(name.decode() if isinstance(name, bytes) else name).strip("\0 ")


class Library:
    """Through libcudart itself, if cuda-python is not installed: on a Jetson, or next to a CUDA build of torch."""

    def __init__(self, name: str) -> None:
        self._cudart = ctypes.CDLL(name)
        self._cudart.cudaGetErrorString.restype = ctypes.c_char_p

    def invoke(self, name: str, *arguments: int) -> tuple[int, tuple[int, ...]]:
        """See `CudaLibrary`."""
        outputs = [kind() for kind in OUTPUTS.get(name, ())]
        pointers = [ctypes.byref(output) for output in outputs]
        # every argument of these functions is a pointer, a size, or a small number: each passes as one machine word
        words = [ctypes.c_size_t(argument) for argument in arguments]
        ordered = [*words, *pointers] if name in OUTPUTS_LAST else [*pointers, *words]
        code = getattr(self._cudart, name)(*ordered)
        return int(code), tuple(output.value or 0 for output in outputs)

    def explain(self, code: int) -> str:
        """See `CudaLibrary`."""
        return str(self._cudart.cudaGetErrorString(code).decode())

    def device_name(self, index: int) -> str:
        """See `CudaLibrary`."""
        # the structure differs between versions; in all of them the name is first, and the size is below 8 kB
        properties = ctypes.create_string_buffer(8192)
        function = getattr(self._cudart, "cudaGetDeviceProperties_v2", None) or self._cudart.cudaGetDeviceProperties
        return properties.value.decode() if function(properties, index) == 0 else ""


def library_names() -> Iterator[str]:
    """Candidate paths of libcudart: known to the loader, in CUDA's folder, or in a wheel."""
    library = ctypes.util.find_library("cudart")
    yield from [library] if library else []
    yield from (f"libcudart.so{version}" for version in (".13", ".12", ""))
    yield from map(str, sorted(Path("/usr/local/cuda").glob("lib64/libcudart.so*")))
    spec = find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        yield from map(str, sorted(Path(folder).glob("*/lib/libcudart.so.*")))


def libraries() -> Iterator[CudaLibrary]:
    """Every library available here, cuda-python before libcudart, newer before older."""
    with suppress(ImportError, RuntimeError):  # not installed, or without the driver's library
        yield Bindings()
    for name in library_names():
        try:
            yield Library(name)
        except (OSError, AttributeError):  # not installed, or not a CUDA runtime
            continue


def find_library() -> CudaLibrary:
    """The first library that works with this driver; if none does, the first one, whose error names the problem.

    A runtime newer than the driver reports that there is no driver; an older one next to it may still work.

    Raises:
        DependencyError: neither cuda-python nor libcudart is installed.
    """
    first: CudaLibrary | None = None
    for library in libraries():
        first = first or library
        if count_devices(library)[0] != NO_DRIVER:
            return library
    if first is None:
        raise DependencyError("cuda-python", extra="trt", purpose="running a plan")
    return first


def count_devices(library: CudaLibrary) -> tuple[int, int]:
    """Error code and number of devices."""
    try:
        code, values = library.invoke("cudaGetDeviceCount")
    except RuntimeError:  # some versions of cuda-python raise without a driver
        return NO_DRIVER, 0
    return code, values[0] if values else 0
