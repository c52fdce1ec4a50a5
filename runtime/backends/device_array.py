"""Arrays that are already on a CUDA device, from any library: their address, without a copy."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass, field
from typing import Any

from advcal_edge.errors import InputError

DLPACK_CUDA, DLPACK_FLOAT = 2, 2
FLOAT32 = "<f4"
ITEM = 4
ANY = -1  # instead of a stream: the library does not state where it writes


@dataclass(frozen=True, slots=True)
class DeviceArray:
    """Contiguous float32 (n, ...) on a device; `keep` must live as long as the address is used."""

    address: int
    shape: tuple[int, ...]
    stream: int | None = None  # where the library may still be writing; ANY if that is unknown
    keep: Any = field(default=None, compare=False, repr=False)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> DeviceArray:
        """Consecutive samples, without a copy."""
        start, stop, _ = part.indices(len(self))
        shape = (max(stop - start, 0), *self.shape[1:])
        return DeviceArray(self.address + start * ITEM * math.prod(shape[1:]), shape, self.stream, self.keep)


class Tensor(ctypes.Structure):
    """The first fields of what a DLPack capsule points to, equal in all its versions without a name suffix."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32),
        ("index", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("offset", ctypes.c_uint64),
    )


def find_device_array(x: Any, stream: int, device: int = 0) -> DeviceArray | None:
    """`x` if it is on a CUDA device (cupy, pycuda, torch, any library with DLPack); None for a host array.

    A library with DLPack finishes its work before `stream` continues. For others the caller waits for the stream they
    name, or for the whole device if they name none, as with torch's older interface.

    Raises:
        InputError: on another device than `device`, not float32, not contiguous, or requires a gradient.
    """
    try:
        if hasattr(x, "__dlpack_device__"):
            kind, index = x.__dlpack_device__()
            if int(kind) != DLPACK_CUDA:
                return None
            if int(index) != device:
                raise InputError(f"an array lies on CUDA device {int(index)}; expected device {device}, of the plan")
            return read_capsule(x.__dlpack__(stream=stream))
        return from_interface(x) if hasattr(x, "__cuda_array_interface__") else None
    except (RuntimeError, BufferError) as error:  # raised by torch for tensors that require a gradient
        raise InputError(f"an array on the device is not handed over: {error}", hint="`detach()` it first") from error


def from_interface(x: Any) -> DeviceArray:
    """Read the CUDA array interface, version 2 or 3."""
    interface = x.__cuda_array_interface__
    if interface.get("mask") is not None:
        raise InputError("an array on the device has a mask; expected one without")
    shape = tuple(int(size) for size in interface["shape"])
    strides = interface.get("strides")
    check_layout(str(interface["typestr"]), shape, None if strides is None else tuple(map(int, strides)), ITEM)
    stream = ANY if int(interface.get("version", 2)) < 3 else interface.get("stream")
    return DeviceArray(int(interface["data"][0]), shape, None if stream is None else int(stream), x)


def read_capsule(capsule: Any) -> DeviceArray:
    """Read a DLPack capsule. It is never marked as used and is kept until then, so that its owner frees it."""
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    tensor = Tensor.from_address(get_pointer(capsule, b"dltensor"))
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    kind = FLOAT32 if (tensor.code, tensor.bits, tensor.lanes) == (DLPACK_FLOAT, 32, 1) else "another type"
    check_layout(kind, shape, tuple(tensor.strides[axis] for axis in range(tensor.ndim)) if tensor.strides else None)
    return DeviceArray(int(tensor.data or 0) + int(tensor.offset), shape, None, capsule)


def check_layout(kind: str, shape: tuple[int, ...], strides: tuple[int, ...] | None, unit: int = 1) -> None:
    """Refuse an array that would need a cast or a copy; strides count items, or bytes with `unit` bytes per item.

    Raises:
        InputError: not float32, or not contiguous.
    """
    if kind != FLOAT32:
        raise InputError(f"an array on the device is {kind}; expected float32 (`{FLOAT32}`)")
    expected = unit
    for size, stride in reversed(list(zip(shape, strides or (), strict=False))):
        if size > 1 and stride != expected:
            raise InputError(
                f"an array on the device has strides {strides} for shape {shape}; expected a contiguous one",
                hint="make it contiguous before it is handed over",
            )
        expected *= size
